"""Captions of the training drawings, and the texts that only the text tower learns from."""
import random
import re

from wordnet import words_of

CAPTIONS_PER_DRAWING = 16
TEMPLATES = ["{}", "{}", "a drawing of a {}", "an icon of a {}", "a picture of a {}", "an emoji of a {}",
             "a flat drawing of a {}", "a simple picture of the {}", "a {} icon", "clip art of a {}", "the {} symbol",
             "a small image of a {}"]
EVALUATION_TEMPLATES = ["{}", "a drawing of a {}", "an icon of a {}", "an emoji of a {}", "a picture of a {}"]
# Distinct captions kept for all drawings of one concept or name together: the teacher has to read each of them.
POOL_SIZE = {"emoji": 40, "icon": 6, "clip art": 12}
# Lexicographer files of the nouns that the text tower learns: animals, body parts and food, artifacts, objects, plants.
NOUN_FILES = {"05", "06", "08", "13", "17", "20"}
# Two-word names of animals and plants are mostly species that nobody draws.
ONE_WORD_FILES = {"05", "20"}
LONGEST_GLOSS = 10  # words


def draw_caption(rng, entry):
    """A caption and what it says without its template: what the teacher reads.

    Name 45 %, tags 15 %, name and tags 10 %, name and hypernym 15 %, hypernym 7 %, gloss 8 %. Templates say nothing
    about the picture, so all captions that differ only in the template have one target.
    """
    tags, hypernyms, gloss = entry.get("tags", []), entry.get("hypernyms", []), entry.get("gloss", "")

    def some_tags(most):
        return ", ".join(rng.sample(tags, min(len(tags), rng.randint(1, most))))

    def named(name, more=""):
        return rng.choice(TEMPLATES).format(name) + more, name + more

    chance, name = rng.random(), rng.choice(entry["names"])
    if entry["kind"] == "clip art" and tags and chance < 0.5:
        return (some_tags(3),) * 2 if chance < 0.25 else named(rng.choice(tags))
    if chance < 0.15 and tags:
        return (some_tags(3),) * 2
    if chance < 0.25 and tags:
        return named(name, f", {some_tags(2)}")
    if 0.25 <= chance < 0.40 and hypernyms:
        return named(name, f", {rng.choice(hypernyms[:3])}")
    if 0.40 <= chance < 0.47 and hypernyms:
        return named(rng.choice(hypernyms[:3]))
    if 0.47 <= chance < 0.55 and gloss:
        return (rng.choice([f"{name}, ", "", f"{name}: "]) + gloss,) * 2
    return named(name)


def key_of(entry):
    """What drawings of one thing have in common: the emoji concept, else the name."""
    return entry.get("concept") or entry["names"][0]


def caption_drawings(entries):
    """16 (caption, content) pairs for every drawing, from the pool of its key and kind; the same on each run."""
    pools, captions = {}, []
    for entry in entries:
        pool_key = (key_of(entry), entry["kind"])
        if pool_key not in pools:
            rng = random.Random("/".join(pool_key))
            pools[pool_key] = [tuple(map(one_line, draw_caption(rng, entry))) for _ in range(POOL_SIZE[entry["kind"]])]
        rng = random.Random(f"{entry['set']}/{entry['icon']}")
        captions.append([rng.choice(pools[pool_key]) for _ in range(CAPTIONS_PER_DRAWING)])
    return captions


def noun_texts(wordnet):
    """Names, short glosses and lines of hypernyms of WordNet's nouns of one or two plain words that can be drawn."""
    texts = []
    for key in sorted(wordnet.senses):
        words, gloss, file = key.split("_"), wordnet.gloss(key), wordnet.synsets[wordnet.sense(key)][3]
        most = 1 if file in ONE_WORD_FILES else 2
        if file not in NOUN_FILES or len(words) > most or not all(word.isalpha() for word in words):
            continue
        texts += [" ".join(words), ", ".join(wordnet.hypernyms(key)[:3])]
        if len(words) == 1 and len(gloss.split()) <= LONGEST_GLOSS and not re.match("(a |type )?genus", gloss):
            texts.append(gloss)
    return texts


def emoji_texts(concepts):
    """Names and keywords of all emoji. The held-out ones are among them: as text, without a picture."""
    texts = []
    for concept in concepts.values():
        texts += [*concept.names(), *concept.tags, ", ".join(concept.tags)]
    return texts


def evaluation_texts(benchmark):
    """(Text, name) with row 5 i + t for name i in template t; the concepts come first, then the subgroups."""
    names = [part["name"] for part in benchmark["concepts"] + benchmark["subgroups"]]
    return [(template.format(name), name) for name in names for template in EVALUATION_TEMPLATES]


def one_line(text):
    return " ".join(text.split())


def has_words(text):
    return bool(words_of(text))
