"""Writes emoji_dg.json (the benchmark) and held_out.json (what training may not show)."""
import argparse
import json
from pathlib import Path

from emoji import DOMAINS
from sources import Sources, add_source_arguments

VERSION = 1
SUBGROUP_NAMES = {
    "animal-bird": "bird", "animal-bug": "bug", "animal-mammal": "mammal", "animal-marine": "sea animal",
    "animal-reptile": "reptile", "award-medal": "award medal", "book-paper": "book or paper", "clothing": "clothing",
    "computer": "computer", "drink": "drink", "event": "celebration", "food-asian": "asian food", "food-fruit": "fruit",
    "food-prepared": "prepared food", "food-sweet": "sweet dessert", "food-vegetable": "vegetable", "game": "game",
    "household": "household item", "light-video": "lamp or camera", "lock": "lock or key", "mail": "mail",
    "money": "money", "music": "music", "musical-instrument": "musical instrument", "office": "office supplies",
    "phone": "phone", "place-building": "building", "place-geographic": "landscape", "place-map": "map",
    "place-other": "place", "plant-flower": "flower", "plant-other": "plant", "sky-weather": "sky and weather",
    "sound": "sound", "sport": "sport", "time": "clock", "tool": "tool", "transport-air": "aircraft",
    "transport-ground": "road vehicle", "transport-water": "boat", "writing": "writing",
}


def benchmark(sources):
    split, sets = sources.split, [prefix for prefixes in DOMAINS.values() for prefix in prefixes]
    concepts = [{"code": code, "name": sources.concepts[code].name, "group": sources.concepts[code].group,
                 "subgroup": sources.concepts[code].subgroup, "held_out": code in split.codes} for code in split.shared]
    return {
        "version": VERSION,
        "subgroups": [{"key": key, "name": SUBGROUP_NAMES[key]} for key in split.subgroups],
        "domains": DOMAINS,
        "concepts": concepts,
        "icons": {prefix: {code: sources.sets[prefix].icons[code] for code in split.shared
                           if code in sources.sets[prefix].icons} for prefix in sets},
    }


def held_out(sources):
    split = sources.split
    strict = sorted(" ".join(name) for name in split.banned.names)
    return {
        "version": VERSION,
        "families": ["fluent", "openmoji"],
        "concepts": {code: sources.concepts[code].name for code in sorted(split.codes)},
        "banned_names": strict,
        "banned_names_icons": sorted({" ".join(name) for name in split.banned_loosely.names} - set(strict)),
    }


def write_json(path: Path, value):
    """One line for each entry of the outer two levels, so that a change shows as a change of few lines."""
    dump = lambda part: json.dumps(part, ensure_ascii=False)
    lines = []
    for key, part in value.items():
        if isinstance(part, dict):
            inner = ",\n".join(f"  {dump(name)}: {dump(entry)}" for name, entry in part.items())
            lines.append(f" {dump(key)}: {{\n{inner}\n }}")
        elif isinstance(part, list):
            inner = ",\n".join(f"  {dump(entry)}" for entry in part)
            lines.append(f" {dump(key)}: [\n{inner}\n ]")
        else:
            lines.append(f" {dump(key)}: {dump(part)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add_source_arguments(parser)
    args = parser.parse_args()
    sources = Sources(args.npm, args.wordnet)
    args.models.mkdir(parents=True, exist_ok=True)
    write_json(args.models / "emoji_dg.json", benchmark(sources))
    write_json(args.models / "held_out.json", held_out(sources))
    split = sources.split
    inside = sum(split.sizes[key] for key in split.subgroups)
    print(f"{len(split.shared)} concepts, {len(split.subgroups)} subgroups with {inside}; "
          f"{len(split.codes)} held out, {len(split.codes & set(split.shared))} of them in the benchmark")


if __name__ == "__main__":
    main()
