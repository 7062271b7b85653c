"""The rows of bench/bert_bench.cpp in PyTorch with transformers' BertModel, whose attention is the fused one of
torch.nn.functional: a forward pass as in evaluation, and a training step without dropout.

    python torch_bert.py --threads 2 [--only REGEX] [--seconds 0.2]
"""
import torch
from timing import Rows
from transformers import BertConfig, BertModel

BATCH, TOKENS = 8, 128
SIZES = {"minilm": (384, 6, 12), "base": (768, 12, 12)}


def model_of(size):
    dim, layers, heads = SIZES[size]
    torch.manual_seed(1)
    return BertModel(BertConfig(hidden_size=dim, num_hidden_layers=layers, num_attention_heads=heads,
                                intermediate_size=4 * dim), add_pooling_layer=False).eval()


def forward(size):
    model, ids = model_of(size), torch.randint(1, 30522, (BATCH, TOKENS))

    def step():
        with torch.inference_mode():
            model(ids)

    return step


def train(size):
    model, ids = model_of(size), torch.randint(1, 30522, (BATCH, TOKENS))
    cotangent = torch.randn(BATCH, TOKENS, SIZES[size][0])
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
                                  lr=1e-5, fused=True)

    def step():
        optimizer.zero_grad()
        (model(ids).last_hidden_state * cotangent).sum().backward()
        optimizer.step()

    return step


rows = Rows()
for name in SIZES:
    rows.add(f"{name}/forward/B{BATCH}/N{TOKENS}", lambda size=name: forward(size))
    rows.add(f"{name}/train/B{BATCH}/N{TOKENS}", lambda size=name: train(size))
rows.run()
