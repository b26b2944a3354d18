"""Makes linear_probe.safetensors: optima of scikit-learn's LogisticRegression, tightly converged, and what they predict.

    python linear_probe.py ../../clip/data/hf_quick .

Five overlapping clusters; every case is named after its C and whether features have unit length.
"""
import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

model_folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
width = json.loads((model_folder / "config.json").read_text())["projection_dim"]
random = np.random.default_rng(5)
centres = random.normal(size=(5, width))
labels = random.permutation(np.repeat(np.arange(5), [20, 16, 12, 8, 4]))
features = (centres[labels] + 2.0 * random.normal(size=(len(labels), width))).astype(np.float32)
queries = (2.0 * random.normal(size=(20, width))).astype(np.float32)
tensors = {"features": features, "labels": labels.astype(np.int64), "queries": queries}
for normalise in (False, True):
    for c in ("0.01", "0.316", "100.0"):
        scale = (lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)) if normalise else (lambda x: x)
        fit = LogisticRegression(C=float(c), tol=1e-10, max_iter=100000).fit(scale(features.astype(np.float64)), labels)
        name = f"{c} {'unit' if normalise else 'raw'}"
        tensors[f"{name} weight"] = np.ascontiguousarray(fit.coef_)
        tensors[f"{name} bias"] = np.ascontiguousarray(fit.intercept_)
        tensors[f"{name} probabilities"] = np.ascontiguousarray(fit.predict_proba(scale(queries.astype(np.float64))))
        print(name, fit.n_iter_, fit.score(scale(features), labels))
save_file(tensors, out / "linear_probe.safetensors")
