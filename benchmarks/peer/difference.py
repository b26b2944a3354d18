"""python difference.py OURS.safetensors PEER.safetensors: JSON of max|a - b| / max|b| over the tensors, which both must name alike.

Where the peer did a part of the rows, these are compared.
"""
import json
import sys

import numpy as np
from safetensors.numpy import load_file

ours, peer = (load_file(path) for path in sys.argv[1:3])
if set(ours) != set(peer):
    sys.exit(f"expected tensors of the same names, found {sorted(ours)} and {sorted(peer)}")
worst = 0.0
for name in sorted(peer):
    a, b = ours[name].astype(np.float64), peer[name].astype(np.float64)
    worst = max(worst, float(np.abs(a[: len(b)] - b).max() / np.abs(b).max()))
print(json.dumps(worst))
