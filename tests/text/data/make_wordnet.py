"""Writes a few nouns in the format of WordNet's data files, with glosses of our own: python3 make_wordnet.py"""

import pathlib

FOLDER = pathlib.Path(__file__).parent / "wordnet"
HEADER = "  1 A few nouns in the format of WordNet's files.  \n  2 The definitions were written for these tests.  \n"

# key: words, kinds of it, gloss
SENSES = {
    "animal": (["animal", "beast"], [], "a living thing that moves by itself"),
    "bird": (["bird"], ["animal"], 'a warm animal with feathers; "birds sing"; "a small bird"'),
    "crane": (["crane"], ["bird"], "a large bird with long legs"),
    "machine": (["machine"], [], "a thing made to do work"),
    "lifter": (["crane", "lifting_crane"], ["machine"], "a machine that lifts heavy things"),
    "lamp": (["lamp"], ["machine"], "a thing that gives light"),
    "goose": (["goose"], ["bird"], "a water bird with a long neck"),
    "camera": (["camera", "photographic_camera"], ["machine"], "a machine that takes pictures"),
}
INDEX = {
    "animal": ["animal"], "beast": ["animal"], "bird": ["bird"], "camera": ["camera"], "crane": ["crane", "lifter"],
    "goose": ["goose"], "lamp": ["lamp"], "lifting_crane": ["lifter"], "machine": ["machine"],
    "photographic_camera": ["camera"],
}


def line(key, offsets):
    words, kinds, gloss = SENSES[key]
    pointers = "".join(f"@ {offsets[kind]:08d} n 0000 " for kind in kinds)
    named = " ".join(f"{word} 0" for word in words)
    return f"{offsets[key]:08d} 05 n {len(words):02x} {named} {len(kinds):03d} {pointers}| {gloss}  \n"


offsets = dict.fromkeys(SENSES, 0)
place = len(HEADER)
for key in SENSES:
    offsets[key] = place
    place += len(line(key, offsets))
FOLDER.mkdir(exist_ok=True)
(FOLDER / "data.noun").write_text(HEADER + "".join(line(key, offsets) for key in SENSES))
entries = "".join(
    f"{lemma} n {len(keys)} 1 @ {len(keys)} 0 {' '.join(f'{offsets[key]:08d}' for key in keys)}  \n"
    for lemma, keys in sorted(INDEX.items())
)
(FOLDER / "index.noun").write_text(HEADER + entries)
(FOLDER / "noun.exc").write_text("geese goose\n")
