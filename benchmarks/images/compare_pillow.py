"""Decoding, view and normalisation against Pillow and numpy on one core, the rounds of both interleaved.

  python compare_pillow.py PROGRAM DATA [--rounds N]

PROGRAM is the built benchmark_images, DATA the folder of real image sets. Prints a JSON line a case: the median over
the rounds of ms of processor time a picture, the ratio peer / ours for each step, and the largest difference of the pixels' first value.
"""
import argparse
import io
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
STEPS = ("decode", "view", "normalise")


def peer_round(contents, size, kind):
    spent = dict.fromkeys(STEPS, 0.0)
    for content in contents:
        start = time.thread_time()
        image = Image.open(io.BytesIO(content)).convert("RGB")
        spent["decode"] += time.thread_time() - start
        start = time.thread_time()
        short = min(image.size)
        small = image.resize(tuple(size * side // short for side in image.size), kind)
        left, top = round((small.width - size) / 2), round((small.height - size) / 2)
        small = small.crop((left, top, left + size, top + size))
        spent["view"] += time.thread_time() - start
        start = time.thread_time()
        values = np.asarray(small).astype(np.float32)
        values /= 255
        values -= MEAN
        values /= DEVIATION
        values = np.ascontiguousarray(values.transpose(2, 0, 1))
        spent["normalise"] += time.thread_time() - start
    return {step: 1000 * seconds / len(contents) for step, seconds in spent.items()}, float(values[0, 0, 0])


def compare(program, name, paths, size, kind, rounds):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        listing.write("\n".join(map(str, paths)) + "\n")
        listing.flush()
        ours = subprocess.Popen([program, listing.name, str(size), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)
        contents = [path.read_bytes() for path in paths]
        mine, theirs, difference = [], [], 0.0
        for number in range(rounds + 1):
            print(file=ours.stdin, flush=True)
            row = json.loads(ours.stdout.readline())
            peer, first = peer_round(contents, size, FILTERS[kind])
            difference = max(difference, abs(first - row["first"]))
            if number > 0:  # the first warms both up
                mine.append(row)
                theirs.append(peer)
        ours.stdin.close()
        ours.wait()
    result = {"case": name, "pictures": len(paths), "size": size, "filter": kind, "first_difference": difference}
    for step in STEPS:
        a, b = (statistics.median(row[step] for row in rows) for rows in (mine, theirs))
        result[step] = {"ours_ms": round(a, 4), "peer_ms": round(b, 4), "ratio": round(b / a, 2)}
    a, b = (statistics.median(sum(row[step] for step in STEPS) for row in rows) for rows in (mine, theirs))
    result["all"] = {"ours_ms": round(a, 4), "peer_ms": round(b, 4), "ratio": round(b / a, 2)}
    print(json.dumps(result), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    grocery = sorted((options.data / "grocery").rglob("*.jpg"))[::30]
    cells = sorted((options.data / "bccd").rglob("*.jpg"))[::10]
    for kind in FILTERS:
        compare(options.program, "grocery", grocery, 160, kind, options.rounds)
        compare(options.program, "bccd", cells, 224, kind, options.rounds)
    compare(options.program, "grocery", grocery, 224, "bicubic", options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        large = pathlib.Path(folder) / "large.jpg"
        Image.open(cells[0]).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(large, quality=92)
        compare(options.program, "one of 12 megapixels", [large], 224, "bicubic", options.rounds)


main()
