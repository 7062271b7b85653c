"""The rows of bench/ops_bench.cpp in PyTorch, under the same names: one JSON object a line with the median time.

    python torch_ops.py --threads 1 [--only REGEX] [--seconds 0.2]
"""
import torch
import torch.nn.functional as F
from timing import Rows

rows = Rows()
torch.manual_seed(1)


def backward(step, leaves, cotangent=None):
    """Forward and backward with fresh gradients."""

    def run():
        for leaf in leaves:
            leaf.grad = None
        y = step()
        y.backward(torch.ones_like(y) if cotangent is None else cotangent)

    return run


def both(name, make, step):
    """`make` gives the leaves; `step` takes them."""

    def forward():
        leaves = [leaf.detach() for leaf in make()]

        def run():
            with torch.no_grad():
                step(*leaves)

        return run

    def forward_backward():
        leaves = make()
        y = step(*leaves)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        return backward(lambda: step(*leaves), wanted, torch.randn_like(y) if y.dim() else None)

    rows.add(name + "/forward", forward)
    rows.add(name + "/forward_backward", forward_backward)


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


def small():
    a, b, one = leaf(8), torch.randn(8), torch.ones(8)

    def forward():
        with torch.no_grad():
            a + b

    def chain():
        a.grad = None
        y = a
        for _ in range(100):
            y = y + b
        y.backward(one)

    def second():
        (first,) = torch.autograd.grad((a * a * a).sum(), a, create_graph=True)
        torch.autograd.grad(first.sum(), a)

    rows.add("small/add/forward", lambda: forward)
    rows.add("small/add/forward_backward", lambda: backward(lambda: a + b, [a], one))
    rows.add("small/add/chain_of_100", lambda: chain)
    rows.add("small/cube/second_derivative", lambda: second)


def adamw():
    shapes = [(384, 1536)] * 12 + [(1536, 384)] * 12 + [(384, 384)] * 24 + [(17522, 384)]
    weights = [leaf(*shape) for shape in shapes]
    for w in weights:
        w.grad = torch.randn_like(w)
    optimizer = torch.optim.AdamW(weights, lr=1e-4, weight_decay=0.01, fused=True)
    return optimizer.step


small()
both("layer_norm/4096x768", lambda: [leaf(4096, 768), leaf(768), leaf(768)],
     lambda x, gamma, beta: F.layer_norm(x, (768,), gamma, beta))
both("gelu_erf/4096x3072", lambda: [leaf(4096, 3072)], F.gelu)
both("gelu_tanh/4096x3072", lambda: [leaf(4096, 3072)], lambda x: F.gelu(x, approximate="tanh"))
both("dropout/4096x768", lambda: [leaf(4096, 768)], lambda x: F.dropout(x, 0.1))
both("tanh/4096x768", lambda: [leaf(4096, 768)], torch.tanh)
both("exp/4096x768", lambda: [leaf(4096, 768)], torch.exp)
both("bce_with_logits/1M", lambda: [leaf(1000000), (torch.randn(1000000) > 0).float()],
     F.binary_cross_entropy_with_logits)
for length in (128, 512):
    both(f"attention/B8_H12_D64_N{length}", lambda n=length: [leaf(8, 12, n, 64) for _ in range(3)],
         F.scaled_dot_product_attention)
both("embedding/1024_of_30522x768", lambda: [leaf(30522, 768)],
     lambda table, ids=torch.randint(30522, (8, 128)): F.embedding(ids, table))
rows.add("adamw/24.4M", adamw)
rows.run()
