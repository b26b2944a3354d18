"""Chooses pocket's training drawings and writes the exact list, drawings.jsonl.gz.

Three kinds: emoji of the training vendors, icons of sets with permissive licences whose name is a noun, and public
domain clip art. No drawing of a held-out concept: a banned name anywhere in the name, title, keywords or file name of
an icon or a clip art drops it.
"""
import argparse
import collections
import gzip
import hashlib
import json
import os
import re
from pathlib import Path

from emoji import TRAINING_SETS, IconSet
from heldout import order_key
from sources import Sources, add_source_arguments
from wordnet import words_of

LICENCES = {"MIT", "Apache-2.0", "ISC", "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "BSD-3-Clause", "Unlicense"}
SKIPPED_CATEGORIES = {"Emoji", "Logos", "Programming"}
# Flags, maps, other drawings of the vendors that are held out, and sets whose icons are not of things.
SKIPPED_SETS = {"cif", "circle-flags", "flag", "flagpack", "geo", "map", "fluent", "fluent-color", "fluent-mdl2",
                "fluent-emoji", "streamline-emojis", "svg-spinners", "streamline-block", "cryptocurrency"}
# Pictogram sets, kept with every short name that contains a noun.
PICTOGRAMS = {"game-icons", "pinhead", "temaki", "maki", "osmic", "roentgen", "healthicons", "covid", "medical-icon",
              "meteocons", "gis", "lucide-lab"}
STYLE_WORDS = set("""outline outlined filled fill line linear bold duotone light thin solid rounded round sharp twotone
    tone two broken regular baseline alt color colour flat mini micro small large square circle circled simple stroke sm
    lg xl md o s l fa b off slash icon emoji 3d remix""".split())
MEANINGFUL_FIRST = {"light", "two", "square", "circle"}
PER_SET_AND_NAME, PER_NAME = 2, 20
CLIP_ART_SKIPPED = {"computer", "shapes", "special", "buttons", "logos", "geography", "decorations", "unsorted",
                    "flags"}
CLIP_ART_NO_KEYWORDS = {"clip art", "clipart", "svg", "unsorted", "hash", "externalsource"}
LARGEST_CLIP_ART = 600_000  # bytes


def without_digits(text):
    return re.sub(r"\d+", " ", text)


class Selection:
    def __init__(self, sources, clip_art):
        self.sources, self.wordnet, self.split = sources, sources.wordnet, sources.split
        self.clip_art = clip_art
        self.concept_of_name = {}
        for code, concept in sources.concepts.items():
            for name in (concept.name, concept.label):
                self.concept_of_name.setdefault(" ".join(words_of(name)), code)
        self.dropped, self.infos = collections.Counter(), {}

    def clean(self, texts):
        return [text for text in texts if not self.split.banned_loosely.hits(text) and len(text) > 1]

    def entry(self, set_name, icon, licence, kind, concept, names, tags, key, mono):
        entry = {"set": set_name, "icon": icon, "licence": licence, "kind": kind, "names": names}
        if concept:
            entry["concept"] = concept
        if mono:
            entry["mono"] = True
        words = {"tags": self.clean(tags)}
        if key:
            words["hypernyms"] = self.clean(self.wordnet.hypernyms(key))
            gloss = self.wordnet.gloss(key)
            words["gloss"] = "" if self.split.banned_loosely.hits(gloss) else gloss
        entry.update({name: value for name, value in words.items() if value})
        return entry

    def emoji(self):
        for prefix in TRAINING_SETS:
            icon_set = self.sources.sets[prefix]
            self.infos[prefix] = icon_set.info
            for code, icon in icon_set.icons.items():
                concept = self.sources.concepts[code]
                if concept.group in ("flags", "component"):
                    continue
                if code in self.split.codes:
                    self.dropped["emoji"] += 1
                    continue
                key = self.wordnet.key(words_of(concept.name)) or self.wordnet.key(words_of(concept.label))
                yield self.entry(prefix, icon, icon_set.licence, "emoji", code, concept.names(), concept.tags, key,
                                 icon_set.monochrome)

    def icon_words(self, icon):
        """The words of an icon's name without words of style at both ends; None for struck-out drawings."""
        words = words_of(icon)
        if "off" in words or "slash" in words:
            return None
        while len(words) > 1 and (words[-1] in STYLE_WORDS or re.fullmatch(r"\d+(px|x\d+)?", words[-1])):
            words.pop()
        while len(words) > 1 and words[0] in STYLE_WORDS - MEANINGFUL_FIRST:
            words.pop(0)
        return words

    def is_thing(self, words, any_noun):
        """Whether the name is a noun or an emoji; with `any_noun`, whether it is short and contains a noun."""
        if self.wordnet.key(words) or " ".join(words) in self.concept_of_name:
            return True
        if not any_noun or len(words) > 4 or any(word.isdigit() for word in words):
            return False
        return any(len(word) > 2 and self.wordnet.singular(word) in self.wordnet.senses for word in words)

    def icons_of_set(self, icon_set):
        by_name = collections.defaultdict(list)
        any_noun = icon_set.prefix in PICTOGRAMS or not icon_set.monochrome
        for icon, drawing in icon_set.data["icons"].items():
            words = None if drawing.get("hidden") else self.icon_words(icon)
            if not words or not self.is_thing(words, any_noun) or not re.search("[a-z]{3}", " ".join(words)):
                continue
            if any(map(self.split.banned_loosely.hits, [icon, without_digits(icon), " ".join(words)])):
                self.dropped["icon"] += 1
                continue
            by_name[" ".join(words)].append(icon)
        for name, icons in by_name.items():
            icons.sort(key=lambda icon: order_key(icon_set.prefix + icon))
            for rank, icon in enumerate(icons[:PER_SET_AND_NAME]):
                yield name, (rank, icon_set.monochrome, order_key(icon_set.prefix + icon)), icon_set, icon

    def icons(self):
        folder = self.sources.npm / "@iconify/json"
        by_name = collections.defaultdict(list)
        for prefix, info in sorted(json.loads((folder / "collections.json").read_text()).items()):
            if (info.get("category") in SKIPPED_CATEGORIES or prefix in SKIPPED_SETS or prefix in self.sources.sets
                    or info["license"].get("spdx") not in LICENCES):
                continue
            icon_set = IconSet(prefix, json.loads((folder / f"json/{prefix}.json").read_text()), info)
            for name, order, chosen, icon in self.icons_of_set(icon_set):
                by_name[name].append((order, chosen.prefix, chosen.licence, chosen.monochrome, icon))
            self.infos[prefix] = info
        for name, found in by_name.items():
            code, key = self.concept_of_name.get(name, ""), self.wordnet.key(name.split())
            tags = self.sources.concepts[code].tags if code else []
            for _, prefix, licence, mono, icon in sorted(found)[:PER_NAME]:
                yield self.entry(prefix, icon, licence, "icon", code, [name], tags, key, mono)

    def clip_arts(self):
        seen = set()
        for folder, _, files in sorted(os.walk(self.clip_art)):
            inside = os.path.relpath(folder, self.clip_art).split(os.sep)
            for file in [] if CLIP_ART_SKIPPED & set(inside) else sorted(files):
                path = Path(folder) / file
                if path.suffix != ".svg" or path.is_symlink() or path.stat().st_size > LARGEST_CLIP_ART:
                    continue
                text = path.read_text(encoding="utf8", errors="replace")
                end = hashlib.sha1(text[-2000:].encode()).hexdigest()
                if "publicdomain" not in text.replace(" ", "").lower() or end in seen:
                    continue
                seen.add(end)
                entry = self.clip_art_entry(path, text)
                if entry:
                    yield entry

    def clip_art_entry(self, path, text):
        title = re.search(r"<dc:title>([^<]*)</dc:title>", text)
        words = [word for word in words_of(title.group(1) if title else "") if not word.isdigit()]
        keywords = [word.strip().lower() for word in re.findall(r"<rdf:li>([^<]*)</rdf:li>", text)]
        keywords = [word for word in keywords
                    if re.fullmatch(r"[a-z][a-z \-]{2,24}", word) and word not in CLIP_ART_NO_KEYWORDS]
        # Titles in other languages would pass the banned names unseen, so a title needs an English noun.
        if not any(len(word) > 2 and self.wordnet.singular(word) in self.wordnet.senses for word in words):
            return None
        texts = [" ".join(words), without_digits(" ".join(words)), *keywords, without_digits(path.stem)]
        if any(map(self.split.banned_loosely.hits, texts)):
            self.dropped["clip art"] += 1
            return None
        name = " ".join(words[:8])
        return self.entry("openclipart", os.path.relpath(path, self.clip_art), "public domain", "clip art", "", [name],
                          keywords, self.wordnet.key(words), False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_source_arguments(parser)
    parser.add_argument("--clip-art", type=Path, required=True, help="folder svg of Debian's openclipart-svg")
    args = parser.parse_args()
    sources = Sources(args.npm, args.wordnet)
    selection = Selection(sources, args.clip_art)
    entries = [*selection.emoji(), *selection.icons(), *selection.clip_arts()]
    with open(args.models / "drawings.jsonl.gz", "wb") as raw:
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
            for entry in entries:
                file.write((json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n").encode())
    used = {entry["set"] for entry in entries}
    (args.models / "sets.json").write_text(json.dumps(
        {prefix: {"name": info["name"], "author": info["author"], "license": info["license"]}
         for prefix, info in sorted(selection.infos.items()) if prefix in used}, ensure_ascii=False, indent=1) + "\n")
    print("chosen", collections.Counter(entry["kind"] for entry in entries), "dropped", dict(selection.dropped))
    print("by licence", collections.Counter((entry["kind"], entry["licence"]) for entry in entries))


if __name__ == "__main__":
    main()
