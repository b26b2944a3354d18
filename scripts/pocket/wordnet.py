"""The nouns of WordNet 3.0, read from the files of Debian's wordnet-base."""
import re
from pathlib import Path

# Lexicographer files of things that can be drawn: animal, artifact, body, food, object, person, phenomenon, plant, shape...
PICTURABLE = {"05", "06", "08", "13", "17", "18", "19", "20", "25"}
# Hypernyms that say nothing about the picture; a chain stops at the first of them.
EMPTY_HYPERNYMS = {
    "entity", "physical entity", "object", "whole", "physical object", "abstraction", "abstract entity", "matter",
    "thing", "artifact", "artefact", "unit", "instrumentality", "causal agent", "psychological feature", "organism",
    "living thing", "attribute", "relation", "substance", "being", "event",
}


def words_of(text):
    """Lower-case words and numbers of a name; apostrophes join their neighbours."""
    return re.findall(r"[a-z0-9]+", text.lower().replace("'", "").replace("’", ""))


class WordNet:
    """Keys are lemmas as in `index.noun` (underscores between words); a sense is a byte offset of `data.noun`."""

    def __init__(self, folder):
        folder = Path(folder)
        self.synsets = {}
        for line in (folder / "data.noun").read_text(encoding="latin1").splitlines():
            if not line.startswith("  "):
                self._add_synset(line)
        self.senses = {}
        for line in (folder / "index.noun").read_text(encoding="latin1").splitlines():
            if not line.startswith("  "):
                fields = line.split()
                self.senses[fields[0]] = fields[6 + int(fields[3]):]
        pairs = (line.split() for line in (folder / "noun.exc").read_text().splitlines())
        self.irregular = {pair[0]: pair[1] for pair in pairs if len(pair) > 1}

    def _add_synset(self, line):
        head, gloss = line.split("|", 1)
        fields = head.split()
        count = int(fields[3], 16)
        lemmas = [fields[4 + 2 * i] for i in range(count)]
        pointers = fields[5 + 2 * count:]
        hypernyms = [pointers[i + 1] for i in range(0, 4 * int(fields[4 + 2 * count]), 4)
                     if pointers[i] in ("@", "@i") and pointers[i + 2] == "n"]
        gloss = gloss.split(";")[0].split('"')[0].strip().lower()
        self.synsets[fields[0]] = (lemmas, hypernyms, gloss, fields[1])

    def singular(self, word):
        if self.irregular.get(word) in self.senses:
            return self.irregular[word]
        if word in self.senses:
            return word
        for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
            if word.endswith(ending) and len(word) > 3 and word[:-len(ending)] + instead in self.senses:
                return word[:-len(ending)] + instead
        return word

    def key(self, words):
        """The noun that these words name, or None."""
        for candidate in ("_".join(words), "_".join(words[:-1] + [self.singular(words[-1])]) if words else ""):
            if candidate in self.senses:
                return candidate
        return None

    def sense(self, key):
        """The first of the three commonest senses that can be drawn; else the commonest."""
        for offset in self.senses[key][:3]:
            if self.synsets[offset][3] in PICTURABLE:
                return offset
        return self.senses[key][0]

    def gloss(self, key):
        return self.synsets[self.sense(key)][2]

    def lemmas(self, key):
        return [lemma.lower() for lemma in self.synsets[self.sense(key)][0]]

    def hypernyms(self, key, limit=4):
        """Names of the next kinds above the drawn sense, nearest first."""
        offset, names = self.sense(key), []
        while len(names) < limit and self.synsets[offset][1]:
            offset = self.synsets[offset][1][0]
            name = self.synsets[offset][0][0].replace("_", " ").lower()
            if name in EMPTY_HYPERNYMS:
                break
            names.append(name)
        return names
