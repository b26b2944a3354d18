"""Makes the expected ids of the text tests with transformers' fast CLIP tokenizer.

Needs transformers and open_clip_torch (whose package holds OpenAI's list of merges, MIT licence). Writes beside itself:
  clip_merges.txt.gz     the header and the 48,894 merges that CLIP uses, in the form of OpenAI's file
  strings.jsonl.gz       [text, ids] for each string, under the whole vocabulary
  small/tokenizer.json   as transformers saves it: few merges, missing bytes, added tokens of both kinds
  small.jsonl            [text, ids, decoded] under it
  trained.json           texts, the merges that a plain training finds in them, and [text, ids] under these
"""
import collections, gzip, importlib.util, json, os, random, re, shutil, tempfile, unicodedata

from transformers import AddedToken, AutoTokenizer, CLIPTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_alphabet():
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printing]
    return printing + rest, [chr(b) for b in printing] + [chr(256 + i) for i in range(len(rest))]


def tokenizer_of(merges, drop=()):
    _, symbols = byte_alphabet()
    entries = symbols + [s + "</w>" for s in symbols]
    entries += [t for t in dict.fromkeys(a + b for a, b in merges) if t not in set(entries)]
    entries = [e for e in entries if e not in drop] + [START, END]
    return CLIPTokenizerFast(vocab={t: i for i, t in enumerate(entries)}, merges=merges)


def clip_lines():
    package = os.path.dirname(importlib.util.find_spec("open_clip").origin)
    with gzip.open(os.path.join(package, "bpe_simple_vocab_16e6.txt.gz")) as file:
        return file.read().decode().split("\n")[: 48894 + 1]


WORDS = """golden retriever tabby cat airplane zebra crossing fire engine red chili pepper sunflower forget-me-not
bird of paradise 2012 Tesla Model S Boeing 737-800 AM General Hummer SUV 2000 balance beam baby crawling
apply eye makeup annual crop land herbaceous vegetation macaroni and cheese crème brûlée jalapeño café naïve
Schrödinger Ångström smörgåsbord São Paulo Łódź Île-de-France Straße GROẞ Dvořák Đắk Lắk 東京タワー 寿司 北京烤鸭
김치찌개 Привет мир Ελληνικά ΟΔΟΣ ὈΔΥΣΣΕΎΣ שלום مرحبا नमस्ते ภาษาไทย ქართული ᲥᲐᲠᲗᲣᲚᲘ Հայերեն አማርኛ ᏣᎳᎩ ꮳꮃꭹ
İstanbul ISPARTA ıssız ǅ ǆ Ǉ ŉ ﬁ ﬂ ſ K Å Ω ½ ² ³ ₂ Ⅷ ⅷ ① ㊗ ㌔ ٣ ४ 𝟘 𝔘𝔫𝔦 𝕏 𐐀𐐨 🅰 ª º""".split()
EMOJI = "😀 🥑 🐕‍🦺 👩🏽‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 1️⃣ #️⃣ ❤️ ☺ ✌🏿 🫠 🪿 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ©️ ™ ➡️ ⏱".split()
TEMPLATES = ["a photo of a {}.", "itap of the {}!", "{} texture.", "a {}, a type of pet.", "{}", '"{}"?', "({})", "{}'s",
             "the {}…", "{}_{}", "A PHOTO OF {}", "{}  {}", "{}\t{}\n", "«{}» — {}", "{}/{}", "#{} @{}", "&lt;{}&gt; &amp; {}"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u202f",
          "\u205f", "\u3000", "\u200b", "\ufeff", "\u180e", "\x1c", "\x1f", "\u200d", "\u2060"]
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'ll", "'LL", "'d", "'x", "’s", "ʼs", "''s", "'", "'sx", "'ſ"]
SPECIALS = [START, END, START.upper(), END.upper(), "<|EndOfText|>", "<|endoftext", "|>", "<|", "<|pad|>", "</w>", "##a",
            "<|endoftext|>" * 2, "<|start<|endoftext|>oftext|>", "<|endoftext|>'s", "!<|ENDOFTEXT|>!", "<|ENDOFTEXT|>s"]


def mojibake(rng, text):
    for _ in range(rng.choice([1, 1, 2])):
        text = text.encode("utf-8").decode(rng.choice(["latin-1", "cp1252"]), "replace")
    return text


def any_character(rng):
    while True:
        code = rng.choice([rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x11000), rng.randrange(0x110000)])
        # Left out: surrogates, private characters, and what Python's Unicode does not know yet.
        if unicodedata.category(chr(code)) not in ("Cs", "Co", "Cn"):
            return chr(code)


def marks(rng):
    base = rng.choice("aeiouAEIOUsSnNκωΑ가ᄀக")
    pool = [*range(0x300, 0x345), *range(0x591, 0x5B0), *range(0x1161, 0x1176), *range(0x11A8, 0x11C0), 0x345, 0x5BF, 0x93C,
            0xBBE, 0x1DCE, 0x3099]
    return base + "".join(chr(rng.choice(pool)) for _ in range(rng.randrange(1, 6)))


def fill(rng):
    return re.sub(r"\{\}", lambda _: rng.choice(WORDS + EMOJI), rng.choice(TEMPLATES))


def strings():
    rng = random.Random(3)
    glue = lambda parts: "".join(parts)
    kinds = [
        lambda: fill(rng),
        lambda: glue(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(rng.randrange(1, 8))),
        lambda: glue(rng.choice(EMOJI + WORDS[:8]) for _ in range(rng.randrange(1, 6))),
        lambda: glue(rng.choice(WORDS) + rng.choice(CONTRACTIONS) for _ in range(rng.randrange(1, 4))),
        lambda: mojibake(rng, fill(rng)),
        lambda: glue(rng.choice(WORDS[:9] + SPECIALS + SPACES) for _ in range(rng.randrange(1, 7))),
        lambda: glue(any_character(rng) for _ in range(rng.randrange(1, 12))),
        lambda: glue(marks(rng) for _ in range(rng.randrange(1, 4))),
        lambda: glue(chr(rng.randrange(0x21 if rng.random() < 0.5 else 0, 0x80)) for _ in range(rng.randrange(1, 24))),
        lambda: glue(rng.choice("0123456789.,-+eE%$€ ½٣") for _ in range(rng.randrange(1, 14))),
        lambda: unicodedata.normalize(rng.choice(["NFD", "NFKC", "NFKD"]), fill(rng)).swapcase(),
        lambda: glue(rng.choice(["abc", "the", "ing", "X", "ß", "ü", "q"]) for _ in range(rng.randrange(10, 60))),
    ]
    made = ["", " ", "\n\t", "\u3000", "\u200b", "\x00", "a\x00b", "\ufffd", "a" * 300, "!" * 200, "hello" * 60, "ab" * 333,
            "a\u0301" * 40, "\u0301", "'", "''''", "'s", "'s's'S", "é", "e\u0301"]
    made += WORDS + EMOJI + SPACES + CONTRACTIONS + SPECIALS
    seen = set(made)
    while len(made) < 6000:
        text = kinds[len(made) % len(kinds)]()
        if text not in seen:
            seen.add(text)
            made.append(text)
    return made


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


def line(*values):
    return json.dumps(values, separators=(",", ":")) + "\n"


def write_gzip(name, text):
    with open(os.path.join(HERE, name), "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
        packed.write(text.encode())


def make_small(merges):
    tokenizer = tokenizer_of(merges[:300], drop={"Ā", "Ā</w>", "~", "~</w>", "ĉ", "ĉ</w>"})
    tokenizer.add_tokens([AddedToken("<cat-toy>", normalized=False), AddedToken("<cat", normalized=False),
                          AddedToken("Big Dog", normalized=True)])
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        os.makedirs(os.path.join(HERE, "small"), exist_ok=True)
        shutil.copy(os.path.join(folder, "tokenizer.json"), os.path.join(HERE, "small"))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["", "a cat", "a~b ~ ~~", "x\x00", "a photo of <cat-toy>!", "<cat toy>", "<CAT-TOY>", "my BIG  dog", "big dog", "Big Dogs",
             "BIG\u00a0DOG<|endoftext|>", "the thing", "\u0109 ĉ", "🥑 é"]
    with open(os.path.join(HERE, "small.jsonl"), "w") as file:
        for text in texts:
            ids = ids_of(tokenizer, text)
            file.write(line(text, ids, tokenizer.decode(ids)))


def plain_training(texts, entries, tokenizer):
    """The merges by counting every pair anew for each one."""
    order, symbols = byte_alphabet()
    backend = tokenizer.backend_tokenizer
    words = collections.Counter()
    for text in texts:
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)))
    split = {w: [*w[:-1], w[-1] + "</w>"] for w in words}
    ids = {t: i for i, t in enumerate(symbols + [s + "</w>" for s in symbols])}
    merges = []
    while len(ids) < entries - 2:
        pairs = collections.Counter()
        for word, parts in split.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]))
        merges.append(best)
        ids.setdefault("".join(best), len(ids))
        for word, parts in split.items():
            joined, i = [], 0
            while i < len(parts):
                here = tuple(parts[i : i + 2]) == best
                joined.append("".join(best) if here else parts[i])
                i += 2 if here else 1
            split[word] = joined
    return merges


def make_trained(full):
    rng = random.Random(5)
    texts = [fill(rng).replace("_", " ") for _ in range(400)]
    merges = plain_training(texts, 900, full)
    tokenizer = tokenizer_of(merges)
    checks = [[text, ids_of(tokenizer, text)] for text in texts[:60] + ["unseen wörds!", "", "Zebra's 1234 東京"]]
    with open(os.path.join(HERE, "trained.json"), "w") as file:
        json.dump({"texts": texts, "entries": 900, "merges": merges, "ids": checks, "end": tokenizer.eos_token_id}, file,
                  separators=(",", ":"))


def main():
    lines = clip_lines()
    write_gzip("clip_merges.txt.gz", "\n".join(lines) + "\n")
    merges = [tuple(l.split()) for l in lines[1:]]
    full = tokenizer_of(merges)
    made = strings()
    write_gzip("strings.jsonl.gz", "".join(line(text, ids_of(full, text)) for text in made))
    make_small(merges)
    make_trained(full)
    print(len(made), "strings")


main()
