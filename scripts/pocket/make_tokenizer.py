"""Trains pocket's tokenizer on texts.txt and the drawings' names and writes tokenizer.json for transformers.

CLIP's byte-level BPE (lower case, </w> ends a word) in CLIP's order of ids: 256 bytes, 256 bytes that end a word, the
merges, and last the two special tokens.
"""
import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pack import read_drawings

SIZE, SUFFIX = 4096, "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def bytes_in_clip_order():
    """The characters that stand for bytes: printable ones first, as themselves, then the rest from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def with_clip_rules(model):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    return tokenizer


def train_merges(lines, count):
    """Pairs in the order of learning that make `count` distinct tokens."""
    tokenizer = with_clip_rules(models.BPE(end_of_word_suffix=SUFFIX))
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=count + 600, end_of_word_suffix=SUFFIX, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    merges, tokens = [], {}
    for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
        if len(tokens) == count:
            break
        merges.append((left, right))
        tokens[left + right] = None
    return merges, list(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path(__file__).resolve().parent.parent.parent / "models/pocket")
    args = parser.parse_args()
    lines = (args.pack / "texts.txt").read_text(encoding="utf8").splitlines()
    lines += [name for entry in read_drawings(args.models) for name in entry["names"]]
    alphabet = bytes_in_clip_order()
    merges, tokens = train_merges(lines, SIZE - 2 * len(alphabet) - 2)
    order = alphabet + [char + SUFFIX for char in alphabet] + tokens + [START, END]
    vocabulary = {token: number for number, token in enumerate(order)}
    if len(vocabulary) != SIZE:
        raise SystemExit(f"make_tokenizer: expected {SIZE} distinct tokens, found {len(vocabulary)}")
    tokenizer = with_clip_rules(models.BPE(vocabulary, merges, unk_token=END, end_of_word_suffix=SUFFIX,
                                           continuing_subword_prefix="", fuse_unk=False))
    tokenizer.add_special_tokens([AddedToken(START, normalized=False), AddedToken(END, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(args.models / "tokenizer.json"))


if __name__ == "__main__":
    main()
