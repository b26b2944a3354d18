"""The concepts that no training drawing may show, and the words that give such a drawing away."""
import collections
import hashlib

from wordnet import words_of

GROUPS = {"animals-nature", "food-drink", "travel-places", "activities", "objects"}
CORE_SETS = ["noto", "twemoji", "openmoji", "fluent-emoji-flat", "emojione"]
SHARE, LARGEST_CLUSTER, SMALLEST_SUBGROUP = 0.28, 6, 6
CUTS = {"with", "of", "without", "behind", "at", "and", "showing", "tilted", "low", "medium", "high", "not", "done"}
# Words too general to give a concept away although a concept is called so.
GENERAL = {("face",), ("sign",), ("button",)}


def order_key(text):
    return hashlib.sha1(("pocket1" + text).encode()).hexdigest()


def runs_match(words, names_by_first):
    """Whether one of the names occurs in `words` as a run of whole words."""
    for i, word in enumerate(words):
        if any(tuple(words[i:i + len(name)]) == name for name in names_by_first.get(word, ())):
            return True
    return False


class BannedNames:
    """Names of held-out concepts, in singular; `hits` looks for any of them in a text."""

    def __init__(self, wordnet, names):
        self.wordnet, self.names = wordnet, set(names)
        self._by_first = collections.defaultdict(list)
        for name in self.names:
            self._by_first[name[0]].append(name)

    def hits(self, text):
        words = words_of(text)
        forms = ([self.wordnet.singular(word) for word in words], words, [word.removesuffix("s") for word in words])
        return any(runs_match(form, self._by_first) for form in forms)


class HeldOut:
    """The benchmark's concepts and the split into seen and held-out ones.

    Clusters of concepts with one head noun go together, and so does every emoji whose name contains a name of the
    cluster. Clusters come in the order of a hash; one is held out while every subgroup keeps its share.
    """

    def __init__(self, wordnet, concepts, sets, synonyms):
        self.wordnet, self.concepts, self.synonyms = wordnet, concepts, synonyms
        self.shared = [code for code, concept in concepts.items()
                       if concept.group in GROUPS and all(code in sets[prefix].icons for prefix in CORE_SETS)]
        self.sizes = collections.Counter(concepts[code].subgroup for code in self.shared)
        self.subgroups = sorted(key for key, size in self.sizes.items() if size >= SMALLEST_SUBGROUP)
        self.codes = self._choose()
        names = set().union(*(self.names_of(code) for code in self.codes))
        self.banned = BannedNames(wordnet, names)
        held_names = {concepts[code].name for code in self.codes}
        extra = {tuple(wordnet.singular(word) for word in words_of(text))
                 for name in held_names for text in synonyms["extra"].get(name, [])}
        # For names given by somebody else than Unicode: also what a held-out concept is called by hand-made rule.
        self.banned_loosely = BannedNames(wordnet, names | extra)

    def head(self, code):
        words = words_of(self.concepts[code].name)
        words = [word for word in words if word != "face"] or words
        for cut in CUTS:
            if cut in words[1:]:
                words = words[:words.index(cut, 1)]
        return self.synonyms["heads"].get(words[0]) or self.wordnet.singular(words[-1])

    def names_of(self, code):
        """Every name of a concept as a tuple of words in singular."""
        concept, names = self.concepts[code], set()
        for text in concept.names():
            words = [self.wordnet.singular(word) for word in words_of(text)]
            names |= {tuple(words), tuple(word for word in words if word != "face")}
        key = self.wordnet.key(words_of(concept.name))
        if key and concept.name not in self.synonyms["wrong sense"]:
            names |= {tuple(self.wordnet.singular(word) for word in words_of(lemma.replace("_", " ")))
                      for lemma in self.wordnet.lemmas(key)}
        for text in self.synonyms["names"].get(concept.name, []):
            names.add(tuple(self.wordnet.singular(word) for word in words_of(text)))
        return {name for name in names if name} - GENERAL

    def _closure(self, codes):
        """`codes` and every emoji whose name contains one of their names, until nothing joins any more."""
        codes = set(codes)
        while True:
            banned = BannedNames(self.wordnet, set().union(*(self.names_of(code) for code in codes)))
            joined = {code for code, concept in self.concepts.items()
                      if concept.group not in ("flags", "component") and any(map(banned.hits, concept.names()))}
            if joined <= codes or len(codes) > LARGEST_CLUSTER:
                return codes | joined
            codes |= joined

    def _choose(self):
        clusters = collections.defaultdict(set)
        for code, concept in self.concepts.items():
            if concept.group in GROUPS:
                clusters[self.head(code)].add(code)
        held, taken, shared = set(), collections.Counter(), set(self.shared)
        for head in sorted(clusters, key=order_key):
            if clusters[head] <= held or not clusters[head] & shared or len(clusters[head]) > LARGEST_CLUSTER:
                continue
            cluster = self._closure(clusters[head]) - held
            added = collections.Counter(self.concepts[code].subgroup for code in cluster & shared)
            fits = all(taken[key] + count <= round(SHARE * self.sizes[key] + 0.35) for key, count in added.items())
            if len(cluster) <= LARGEST_CLUSTER and fits:
                held |= cluster
                taken.update(added)
        return held
