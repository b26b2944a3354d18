"""Writes texts.txt, contents.txt and the row ranges in pack.json.

texts.txt     captions, then names, glosses and keywords for the text tower alone, then the benchmark's names in templates
contents.txt  the same rows without templates: what the teacher reads
"""
import argparse
import json
from pathlib import Path

import numpy as np

from captions import caption_drawings, emoji_texts, evaluation_texts, has_words, noun_texts, one_line
from emoji import load_concepts
from pack import read_drawings, write_manifest
from sources import add_source_arguments
from wordnet import WordNet


def collect(entries, wordnet, concepts, benchmark):
    """[(text, content)] and the ranges [first, past) of its parts. Rows of evaluation may repeat earlier ones."""
    captions = {}
    for row in caption_drawings(entries):
        for text, content in row:
            captions.setdefault(text, content)
    nouns = dict.fromkeys(one_line(text) for text in noun_texts(wordnet) + emoji_texts(concepts) if has_words(text))
    nouns = [(text, text) for text in nouns if text not in captions]
    parts = {"captions": list(captions.items()), "nouns": nouns, "evaluation": evaluation_texts(benchmark)}
    ends = np.cumsum([0] + [len(part) for part in parts.values()]).tolist()
    return [row for part in parts.values() for row in part], dict(zip(parts, zip(ends, ends[1:])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_source_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pack")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    benchmark = json.loads((args.models / "emoji_dg.json").read_text())
    rows, ranges = collect(read_drawings(args.models), WordNet(args.wordnet), load_concepts(args.npm), benchmark)
    for name, column in (("texts.txt", 0), ("contents.txt", 1)):
        (args.out / name).write_text("\n".join(row[column] for row in rows) + "\n", encoding="utf8")
    write_manifest(args.out, rows=ranges, texts=len(rows))
    print(len(rows), "texts,", len({content for _, content in rows}), "contents", ranges)


if __name__ == "__main__":
    main()
