"""Makes detection.json: random objects and detections with crowds, ties and empty pictures, and masks.json: the same with
masks; and what pycocotools measures.

    python make_detection.py
"""
import contextlib
import io
import json
import pathlib

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HERE = pathlib.Path(__file__).parent


def rounded(values):
    return [round(float(v), 2) for v in values]


def scene(seed, pictures, categories, objects, detections):
    rng = np.random.default_rng(seed)
    images = [{"id": int(i) * 7 + 3, "file_name": f"{i}.png", "width": 400, "height": 300} for i in rng.permutation(pictures)]
    kinds = [{"id": int(c) * 2 + 5, "name": f"kind {c}"} for c in rng.permutation(categories)]
    annotations, results = [], []
    for image in images:
        for _ in range(rng.integers(0, objects + 1)):
            size = rng.choice([20, 60, 150]) * rng.uniform(0.5, 1.2, 2)
            box = rounded([*rng.uniform(0, 250, 2), *size])
            kind = kinds[rng.integers(categories)]["id"]
            area = round(box[2] * box[3] * float(rng.choice([1.0, 0.6])), 3)
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": kind, "bbox": box,
                                "area": area, "iscrowd": int(rng.random() < 0.15)})
            for _ in range(rng.integers(0, 3)):
                moved = rounded(np.array(box) + rng.normal(0, 0.06, 4) * [box[2], box[3], box[2], box[3]])
                results.append({"image_id": image["id"], "category_id": kind if rng.random() < 0.85 else kinds[rng.integers(categories)]["id"],
                                "bbox": moved, "score": round(float(rng.random()), 1)})
        for _ in range(rng.integers(0, detections + 1)):
            box = rounded([*rng.uniform(0, 350, 2), *rng.uniform(5, 120, 2)])
            results.append({"image_id": image["id"], "category_id": kinds[rng.integers(categories)]["id"], "bbox": box,
                            "score": round(float(rng.random()) * 0.8, 1)})
    return {"images": images, "categories": kinds, "annotations": annotations}, [results[i] for i in rng.permutation(len(results))]


def masks(seed, pictures):
    """Ellipses in a small picture, found with other sizes; crowds and polygons among them."""
    rng = np.random.default_rng(seed)
    side = np.array([48, 36])
    rows, columns = np.mgrid[:side[1], :side[0]]
    images = [{"id": i * 3 + 1, "file_name": f"{i}.png", "width": int(side[0]), "height": int(side[1])} for i in range(pictures)]
    kinds = [{"id": 2, "name": "leaf"}, {"id": 6, "name": "cell"}]
    annotations, results = [], []
    encoded = lambda pixels: {k: v.decode() if k == "counts" else v for k, v in mask.encode(np.asfortranarray(pixels.astype(np.uint8))).items()}
    ellipse = lambda place, size: ((columns - place[0]) / size[0]) ** 2 + ((rows - place[1]) / size[1]) ** 2 < 1
    for image in images:
        for _ in range(rng.integers(0, 5)):
            place, size = rng.uniform(4, side - 4), rng.uniform(2, 18, 2)
            kind, crowd = int(rng.choice([2, 6])), int(rng.random() < 0.2)
            angles = np.linspace(0, 2 * np.pi, 9)[:-1]
            outline = np.stack([place[0] + size[0] * np.cos(angles), place[1] + size[1] * np.sin(angles)], 1).clip(0, side)
            shape = [rounded(outline.ravel())] if rng.random() < 0.5 and not crowd else encoded(ellipse(place, size))
            rle = mask.merge(mask.frPyObjects(shape, int(side[1]), int(side[0]))) if isinstance(shape, list) else shape
            if mask.area(rle) == 0:
                continue
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": kind, "segmentation": shape, "iscrowd": crowd,
                                "area": float(mask.area(rle)) * float(rng.choice([1, 30])), "bbox": [float(v) for v in mask.toBbox(rle)]})
            for _ in range(rng.integers(0, 3)):
                results.append({"image_id": image["id"], "category_id": kind if rng.random() < 0.9 else 8 - kind, "score": round(float(rng.random()), 1),
                                "segmentation": encoded(ellipse(place + rng.normal(0, 0.7, 2), size * rng.uniform(0.8, 1.25, 2)))})
    for one in results:
        one["bbox"] = [float(v) for v in mask.toBbox(one["segmentation"])]
    return {"images": images, "categories": kinds, "annotations": annotations}, [results[i] for i in rng.permutation(len(results))]


def measured(truth, results, kind="bbox"):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        coco.createIndex()
        # With boxes beside them, results of masks would be small or large by their boxes.
        results = [{k: v for k, v in one.items() if kind == "bbox" or k != "bbox"} for one in results]
        found = coco.loadRes(json.loads(json.dumps(results)))
        run = COCOeval(coco, found, kind)
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, 2]
    means = [float(p[p > -1].mean()) if (p > -1).any() else -1.0 for p in np.moveaxis(precision, 2, 0)]
    return {"stats": [float(s) for s in run.stats], "category_ap": means}


cases = []
for seed, sizes in enumerate([(12, 3, 5, 4), (3, 1, 20, 200), (8, 5, 2, 0), (6, 2, 9, 30)]):
    truth, results = scene(seed, *sizes)
    cases.append({"truth": truth, "results": results} | measured(truth, results))
    print(cases[-1]["stats"])
(HERE / "detection.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")

cases = []
for seed, pictures in enumerate([16, 3]):
    truth, results = masks(seed, pictures)
    cases.append({"truth": truth, "results": results} | measured(truth, results, "segm"))
    print(cases[-1]["stats"])
(HERE / "masks.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
