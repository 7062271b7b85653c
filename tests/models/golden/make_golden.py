#!/usr/bin/env python3
"""Writes the golden models of tests/models/pretrained_test.cpp: small random encoders in the layout of Hugging Face's
transformers, and what that library computes with them in f64. Needs torch, transformers, safetensors.

    tests/models/golden/make_golden.py FOLDER      default: the script's own

The committed files were made with torch 2.15.0 and transformers 5.24.0.
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import (BertConfig, BertForMaskedLM, BertModel, DistilBertConfig, DistilBertModel, RobertaConfig,
                          RobertaModel)

SIZES = dict(vocab_size=30, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
             max_position_embeddings=10)
MODELS = {
    "bert": (BertModel, BertConfig(**SIZES)),
    "roberta": (RobertaModel, RobertaConfig(**SIZES, pad_token_id=1, layer_norm_eps=1e-5, type_vocab_size=1,
                                            hidden_act="gelu_new")),
    "distilbert": (DistilBertModel, DistilBertConfig(vocab_size=30, dim=12, n_layers=2, n_heads=3, hidden_dim=20,
                                                     max_position_embeddings=10)),
    # A language model: the encoder under "bert.", a head beside it, no pooler.
    "masked_language_model": (BertForMaskedLM, BertConfig(**SIZES)),
}
IDS = torch.tensor([[4, 29, 7, 7, 13, 2], [5, 11, 28, 3, 0, 0], [9, 0, 0, 0, 0, 0]])
LENGTHS = [6, 4, 1]


def widen(model):
    """Weights far from their small first values, so that every part of the model matters, in f32."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.3


def golden(name, folder):
    kind, config = MODELS[name]
    torch.manual_seed(0)
    model = kind(config).eval()
    widen(model)
    model.save_pretrained(folder / name)
    model = model.double()
    encoder = getattr(model, "bert", model)
    ids = IDS.clone()
    mask = torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
        ids[row, length:] = config.pad_token_id
    given = {"input_ids": ids, "attention_mask": mask}
    if getattr(config, "type_vocab_size", 0) > 1:
        given["token_type_ids"] = (torch.arange(6) > 2).long().expand(3, 6).contiguous()
    out = encoder(**given)
    hidden = out.last_hidden_state
    cotangent = torch.linspace(-1, 1, hidden.numel(), dtype=torch.float64).reshape(hidden.shape)
    loss = (hidden * cotangent * mask.unsqueeze(-1)).sum()
    expected = {"hidden": hidden, "cotangent": cotangent}
    if getattr(encoder, "pooler", None) is not None:
        expected["pooled"] = out.pooler_output
        loss = loss + out.pooler_output.sum()
    names, parameters = zip(*((n, p) for n, p in encoder.named_parameters() if p.requires_grad))
    for n, g in zip(names, torch.autograd.grad(loss, parameters, allow_unused=True)):
        expected["gradient." + n] = torch.zeros(()) if g is None else g
    save_file({n: t.detach().clone().contiguous() for n, t in (given | expected).items()},
              folder / name / "expected.safetensors")
    for unneeded in (folder / name).glob("generation_config.json"):
        unneeded.unlink()


def shard(folder):
    """The weights of "bert" in two files with an index, in f16."""
    tensors = {n: t.half() for n, t in load_file(folder / "bert" / "model.safetensors").items()}
    target = folder / "sharded"
    target.mkdir(exist_ok=True)
    (target / "config.json").write_text((folder / "bert" / "config.json").read_text())
    files = {}
    for part in (1, 2):
        file = f"model-{part:05}-of-00002.safetensors"
        chosen = {n: t for i, (n, t) in enumerate(sorted(tensors.items())) if i % 2 == part - 1}
        save_file(chosen, target / file, {"format": "pt"})
        files |= dict.fromkeys(chosen, file)
    index = {"metadata": {"total_size": sum(t.numel() * 2 for t in tensors.values())}, "weight_map": files}
    (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for name in MODELS:
        golden(name, folder)
    shard(folder)


if __name__ == "__main__":
    main()
