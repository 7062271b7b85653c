#!/usr/bin/env python3
"""What transformers makes of texts with all-MiniLM-L6-v2 (scripts/fetch_minilm.sh): the mean of the tokens, of length 1.

    minilm.py MODEL write                     the committed golden vectors, minilm.safetensors, of the texts below
    minilm.py MODEL compare TEXTS VECTORS     the largest difference to what `mettle embed --input TEXTS --out VECTORS`
                                              (a .safetensors file) wrote, and the smallest cosine

Needs torch, transformers, safetensors. Committed with torch 2.15.0 and transformers 5.24.0.
"""
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

# The texts of tests/models/minilm_test.cpp.
TEXTS = [
    "A computer hacker learns that the world he lives in is a simulation.",
    "Two detectives hunt a serial killer who uses the seven deadly sins as his motives.",
    "",
    "naïve façade — 東京 and العربية, 12.5% of $3!",
    "toy " * 300,
]


def embed(folder, texts):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), 16):
            batch = tokenizer(texts[start:start + 16], padding="longest", truncation=True, max_length=256,
                              return_tensors="pt")
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            rows.append(torch.nn.functional.normalize(mean))
    return torch.cat(rows)


def main():
    folder, action = sys.argv[1:3]
    if action == "write":
        save_file({"vectors": embed(folder, TEXTS)}, pathlib.Path(__file__).parent / "minilm.safetensors")
        return
    texts = pathlib.Path(sys.argv[3]).read_text().split("\n")
    texts = texts[:-1] if texts[-1] == "" else texts
    ours, reference = load_file(sys.argv[4])["vectors"], embed(folder, texts)
    cosine = torch.nn.functional.cosine_similarity(ours, reference)
    print(f"{len(texts)} texts: largest difference {(ours - reference).abs().max():.2e}, "
          f"smallest cosine {cosine.min():.6f}")


if __name__ == "__main__":
    main()
