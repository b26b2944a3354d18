"""python difference.py OURS.safetensors PEER.safetensors: JSON of max|a - b| / max|b| over the tensors that both name.

Where the peer did a part of the rows, these are compared.
"""
import json
import sys

import numpy as np
from safetensors.numpy import load_file

ours, peer = (load_file(path) for path in sys.argv[1:3])
common = sorted(set(ours) & set(peer))
if not common:
    sys.exit(f"no tensor in common: {sorted(ours)} and {sorted(peer)}")
worst = 0.0
for name in common:
    a, b = ours[name].astype(np.float64), peer[name].astype(np.float64)
    worst = max(worst, float(np.abs(a[: len(b)] - b).max() / np.abs(b).max()))
print(json.dumps(worst))
