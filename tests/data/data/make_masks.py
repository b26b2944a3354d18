"""Makes masks.json: polygons and random pixels, with the runs, areas, boxes and overlaps that pycocotools gives.

    python make_masks.py
"""
import json
import pathlib

import numpy as np
from pycocotools import mask as coco

HERE = pathlib.Path(__file__).parent


def as_json(rle):
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def polygon(rng, width, height, kind):
    if kind == 0:  # star around a place that may be near the edge
        n = int(rng.integers(3, 12))
        angle = np.sort(rng.uniform(0, 2 * np.pi, n))
        radius = rng.uniform(1, max(width, height), n) * rng.choice([0.2, 0.5])
        points = np.stack([rng.uniform(0, width) + radius * np.cos(angle), rng.uniform(0, height) + radius * np.sin(angle)], 1)
    elif kind == 1:  # any order: edges cross
        points = rng.uniform(-3, [width + 3, height + 3], (int(rng.integers(3, 9)), 2))
    elif kind == 2:  # whole numbers, with points that stand twice
        points = rng.integers(0, [width + 1, height + 1], (int(rng.integers(3, 7)), 2)).astype(float)
        points = np.concatenate([points, points[-1:]])
    else:  # thin
        points = rng.uniform(0, [width, height], (2, 2))
        points = np.concatenate([points, points[::-1] + 0.3])
    return [round(float(v), 2) for v in points.ravel()]


rng = np.random.default_rng(8)
cases = {"polygons": [], "pixels": [], "overlaps": []}
for i in range(60):
    width, height = (int(v) for v in rng.integers(1, 60, 2))
    parts = [polygon(rng, width, height, i % 4) for _ in range(1 + (i % 5 == 0))]
    rle = coco.merge(coco.frPyObjects(parts, height, width))
    cases["polygons"].append({"segmentation": parts, "rle": as_json(rle), "area": int(coco.area(rle)), "box": [float(v) for v in coco.toBbox(rle)]})
for i in range(12):
    width, height = (int(v) for v in rng.integers(1, 24, 2))
    pixels = (rng.random((height, width)) < rng.choice([0.0, 0.1, 0.5, 1.0])).astype(np.uint8)
    rle = coco.encode(np.asfortranarray(pixels))
    cases["pixels"].append({"rows": ["".join(map(str, row)) for row in pixels], "rle": as_json(rle), "area": int(coco.area(rle)),
                            "box": [float(v) for v in coco.toBbox(rle)]})
for i in range(12):
    width, height = (int(v) for v in rng.integers(2, 40, 2))
    a, b = (coco.merge(coco.frPyObjects([polygon(rng, width, height, int(rng.integers(2)))], height, width)) for _ in range(2))
    cases["overlaps"].append({"a": as_json(a), "b": as_json(b), "iou": float(coco.iou([a], [b], [0])[0, 0]),
                              "crowd": float(coco.iou([a], [b], [1])[0, 0]), "union": as_json(coco.merge([a, b]))})
(HERE / "masks.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
