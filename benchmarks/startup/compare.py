#!/usr/bin/env python3
"""`attune predict` on one picture with pocket, and `attune embed` on many, against a bare LibTorch start.

    cmake --preset release -DATTUNE_BENCHMARKS=ON && ninja -C build/release attune bare_start
    benchmarks/startup/compare.py PICTURES [COUNT]

PICTURES is a folder of JPEG files. Runs are interleaved; medians of 15 (predict) and 3 (embed) rounds. Embed goes without the feature cache; predict does so by itself for a few pictures.
"""
import itertools
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parents[2]
build = root / "build" / "release"
pictures = list(itertools.islice(sorted(pathlib.Path(sys.argv[1]).rglob("*.jpg")), int(sys.argv[2]) if len(sys.argv) > 2 else 1000))


def seconds(*command):
    begin = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


attune = build / "attune"
bare, predict = [], []
for _ in range(15):
    bare.append(seconds(build / "benchmarks" / "startup" / "bare_start"))
    predict.append(seconds(attune, "predict", "--model", "pocket", "--classes", "cat,dog,bird", "--quiet", pictures[0]))
print(f"bare LibTorch start {statistics.median(bare):.3f} s, predict {statistics.median(predict):.3f} s, "
      f"difference {statistics.median(p - b for p, b in zip(predict, bare)):.3f} s")

with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder) / "f.npy"
    one, many = [], []
    for _ in range(3):
        one.append(seconds(attune, "embed", "--model", "pocket", "--no-cache", "--quiet", "--images", pictures[0], "--out", out))
        many.append(seconds(attune, "embed", "--model", "pocket", "--no-cache", "--quiet", "--images", *pictures, "--out", out))
    rate = (len(pictures) - 1) / statistics.median(m - o for m, o in zip(many, one))
    print(f"embed {len(pictures)} pictures: {rate:.0f} pictures/s after the start")
