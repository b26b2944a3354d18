"""Renders the listed drawings and the benchmark and writes the pack that `attune pretrain clip` reads.

drawings.safetensors    rgba [N, 64, 64, 4] premultiplied, mono, key, weight, kind [N], caption [N, 16] rows of texts.txt
evaluation.safetensors  rgba [M, 64, 64, 4], set [M] (order of pack.json), concept [M] index into emoji_dg.json
pack.json               counts, names of the numbers in kind and set, drawings that failed, SHA-256 of the files

Needs texts.txt and pack.json of make_texts.py in the same folder.
"""
import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from captions import caption_drawings, key_of
from emoji import FAMILIES, IconSet, load_concepts, load_emoji_set
from pack import read_drawings, write_manifest
from render import SIZE, RenderError, render_clip_art, render_icon
from sources import add_source_arguments

KINDS = ["emoji", "icon", "clip art"]
WEIGHTS = {"emoji": 3.0, "icon": 1.0, "clip art": 2.0}


def load_icon_set(npm, prefix):
    if prefix in FAMILIES:
        folder = npm / "@iconify-json" / prefix
        return IconSet(prefix, json.loads((folder / "icons.json").read_text()), json.loads((folder / "info.json").read_text()))
    return IconSet(prefix, json.loads((npm / f"@iconify/json/json/{prefix}.json").read_text()), {})


def render_set(npm, clip_art, prefix, names):
    """Pixels of the drawings of one set, in order; an all-zero picture and a reason where one cannot be drawn."""
    pixels, failures = np.zeros((len(names), SIZE, SIZE, 4), np.uint8), {}
    icon_set = None if prefix == "openclipart" else load_icon_set(npm, prefix)
    for i, name in enumerate(names):
        try:
            if icon_set:
                pixels[i] = render_icon(icon_set, name)
            else:
                pixels[i] = render_clip_art((clip_art / name).read_text(encoding="utf8", errors="replace"))
        except (RenderError, ValueError, OSError, RuntimeError) as error:
            failures[i] = str(error)[:80]
    return pixels, failures


def render_all(npm, clip_art, jobs, wanted):
    """`wanted` is [(set, icon)]; gives pixels [N, 64, 64, 4] and the failed rows with their reasons."""
    rows_of = {}
    for row, (prefix, _) in enumerate(wanted):
        rows_of.setdefault(prefix, []).append(row)
    pixels, failures = np.zeros((len(wanted), SIZE, SIZE, 4), np.uint8), {}
    with ProcessPoolExecutor(jobs) as pool:
        results = [(rows, pool.submit(render_set, npm, clip_art, prefix, [wanted[row][1] for row in rows]))
                   for prefix, rows in rows_of.items()]
        for rows, result in results:
            drawn, failed = result.result()
            pixels[rows] = drawn
            failures.update({rows[i]: reason for i, reason in failed.items()})
    return pixels, failures


def write_drawings(out, entries, captions, pixels, row_of_text):
    keys = {}
    save_file({
        "rgba": pixels,
        "mono": np.array([entry.get("mono", False) for entry in entries], np.uint8),
        "key": np.array([keys.setdefault(key_of(entry), len(keys)) for entry in entries], np.int64),
        "weight": np.array([WEIGHTS[entry["kind"]] for entry in entries], np.float32),
        "kind": np.array([KINDS.index(entry["kind"]) for entry in entries], np.uint8),
        "caption": np.array([[row_of_text[text] for text, _ in row] for row in captions], np.int32),
    }, out / "drawings.safetensors")
    return len(keys)


def write_evaluation(out, npm, jobs, benchmark):
    """Pictures of the benchmark's concepts in all nine sets; benchmark sets by the frozen icon names."""
    index = {concept["code"]: i for i, concept in enumerate(benchmark["concepts"])}
    concepts, wanted, labels = load_concepts(npm), [], []
    for number, prefix in enumerate(FAMILIES):
        icons = benchmark["icons"].get(prefix) or load_emoji_set(npm, prefix, concepts).icons
        for code, icon in icons.items():
            if code in index:
                wanted.append((prefix, icon))
                labels.append((number, index[code]))
    pixels, failures = render_all(npm, None, jobs, wanted)
    if failures:
        raise RenderError(f"evaluation: {len(failures)} pictures failed, first {next(iter(failures.items()))}")
    numbers, positions = zip(*labels)
    save_file({"rgba": pixels, "set": np.array(numbers, np.uint8), "concept": np.array(positions, np.int64)},
              out / "evaluation.safetensors")
    return len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_source_arguments(parser)
    parser.add_argument("--clip-art", type=Path, required=True, help="folder svg of Debian's openclipart-svg")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pack")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    benchmark = json.loads((args.models / "emoji_dg.json").read_text())
    entries = read_drawings(args.models)

    manifest = json.loads((args.out / "pack.json").read_text())
    texts = (args.out / "texts.txt").read_text(encoding="utf8").split("\n")[:manifest["rows"]["captions"][1]]
    wanted = [(entry["set"], entry["icon"]) for entry in entries]
    pixels, failures = render_all(args.npm, args.clip_art, args.jobs, wanted)
    print("could not draw", len(failures), list(failures.items())[:5], flush=True)
    drawn = [row for row in range(len(entries)) if row not in failures]
    captions = caption_drawings(entries)
    entries = [entries[row] for row in drawn]
    keys = write_drawings(args.out, entries, [captions[row] for row in drawn], pixels[drawn],
                          {text: row for row, text in enumerate(texts)})
    pictures = write_evaluation(args.out, args.npm, args.jobs, benchmark)
    write_manifest(args.out, counts={"drawings": len(entries), "keys": keys, "evaluation": pictures},
                   kinds=KINDS, sets=list(FAMILIES), failed={"/".join(wanted[row]): failures[row] for row in failures})


if __name__ == "__main__":
    main()
