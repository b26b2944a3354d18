"""Looks for held-out concepts among the training drawings, from the committed lists alone.

Words: regular expressions over the plain words with an optional plural, independent of the matcher that made the lists.
Ends with status 1 on a hit. With --pack also pictures: training drawings that look like a held-out emoji of any vendor;
these are listed for the eye, as plain shapes look alike.
"""
import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np

from pack import read_drawings

ALIKE = 0.95


def plain(text):
    return " ".join(re.findall(r"[a-z]+", text.lower().replace("'", "").replace("’", "")))


def any_of(names):
    return re.compile(r"\b(?:" + "|".join(re.escape(plain(name)) + "(?:s|es)?" for name in sorted(names)) + r")\b")


def word_hits(entries, held):
    strict = any_of(held["banned_names"])
    loose = any_of(held["banned_names"] + held["banned_names_icons"])
    hits = []
    for entry in entries:
        names = strict if entry["kind"] == "emoji" else loose
        if entry.get("concept") in held["concepts"]:
            hits.append((entry["set"], "concept", entry["concept"]))
        if any(family in entry["set"] for family in held["families"]):
            hits.append((entry["set"], "family", entry["icon"]))
        texts = [("names", text, names) for text in entry["names"]]
        texts += [(field, text, loose) for field in ("tags", "hypernyms") for text in entry.get(field, [])]
        texts.append(("gloss", entry.get("gloss", ""), loose))
        if entry["kind"] != "emoji":
            texts.append(("file", Path(entry["icon"]).stem, loose))
        hits += [(entry["set"], field, text) for field, text, pattern in texts if pattern.search(plain(text))]
    return hits


def picture_hits(entries, pack, models):
    """(held-out concept, set, icon, likeness) of training drawings close to a held-out emoji, closest first."""
    from safetensors.numpy import load_file

    from floors import fingerprints
    failed = json.loads((pack / "pack.json").read_text())["failed"]
    entries = [entry for entry in entries if f"{entry['set']}/{entry['icon']}" not in failed]
    concepts = json.loads((models / "emoji_dg.json").read_text())["concepts"]
    pictures = load_file(pack / "evaluation.safetensors")
    held = np.array([concept["held_out"] for concept in concepts])[pictures["concept"]]
    prints, labels = fingerprints(pictures["rgba"][held]), pictures["concept"][held]
    hits = []
    trained = load_file(pack / "drawings.safetensors")["rgba"]
    for start in range(0, len(trained), 4096):
        likeness = fingerprints(trained[start:start + 4096]) @ prints.T
        for row in np.where(likeness.max(1) > ALIKE)[0]:
            entry, best = entries[start + row], likeness[row].argmax()
            hits.append((concepts[labels[best]]["name"], entry["set"], entry["icon"], round(float(likeness[row, best]), 3)))
    return sorted(hits, key=lambda hit: -hit[3])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path(__file__).resolve().parent.parent.parent / "models/pocket")
    parser.add_argument("--pack", type=Path)
    args = parser.parse_args()
    entries, held = read_drawings(args.models), json.loads((args.models / "held_out.json").read_text())
    hits = word_hits(entries, held)
    print(f"{len(entries)} drawings, {len(hits)} word hits", *hits[:40], sep="\n")
    if args.pack:
        alike = picture_hits(entries, args.pack, args.models)
        print(f"{len(alike)} drawings look like a held-out emoji (cosine above {ALIKE})", *alike[:60], sep="\n")
    sys.exit(bool(hits))


if __name__ == "__main__":
    main()
