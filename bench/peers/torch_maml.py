"""The rows mlp/second/K5 and encoder/second/K5 of bench/maml_bench.cpp in PyTorch: a meta-step of second-order MAML
from the batches to the gradient of the initial weights, one task after the other as autograd has it. mlp_vmap/second/K5
is the same with torch.func, all tasks at once.

    python torch_maml.py --threads 1 [--only REGEX] [--seconds 0.2]
"""
import torch
import torch.nn.functional as F
from timing import Rows

STEPS, RATE = 5, 0.01
random = torch.Generator().manual_seed(2)


def normal(*shape):
    return torch.randn(*shape, generator=random)


class Mlp:
    """64-64-64-1 with tanh on 32 regression tasks of 16 examples."""

    tasks = 32

    def __init__(self):
        self.weights = [normal(64, 64) * 0.1, torch.zeros(64), normal(64, 64) * 0.1, torch.zeros(64),
                        normal(1, 64) * 0.1, torch.zeros(1)]
        self.support, self.query = self.data(), self.data()

    def data(self):
        return normal(self.tasks, 16, 64), normal(self.tasks, 16, 1)

    def loss(self, w, x, y):
        h = torch.tanh(F.linear(torch.tanh(F.linear(x, w[0], w[1])), w[2], w[3]))
        return F.mse_loss(F.linear(h, w[4], w[5]), y)


class Encoder:
    """2 layers of width 64 with 2 heads over 20 tokens of a vocabulary of 1000, on 4 tasks of 16 examples."""

    tasks, examples, tokens, dim, heads, words = 4, 16, 20, 64, 2, 1000

    def __init__(self):
        d = self.dim
        self.weights = [normal(self.words, d) * 0.1, normal(self.tokens, d) * 0.1]
        for _ in range(2):
            self.weights += [normal(3 * d, d) * 0.1, torch.zeros(3 * d), normal(d, d) * 0.1, torch.zeros(d),
                             torch.ones(d), torch.zeros(d), normal(4 * d, d) * 0.1, torch.zeros(4 * d),
                             normal(d, 4 * d) * 0.1, torch.zeros(d), torch.ones(d), torch.zeros(d)]
        self.weights += [normal(1, d) * 0.1, torch.zeros(1)]
        self.support, self.query = self.data(), self.data()

    def data(self):
        ids = torch.randint(self.words, (self.tasks, self.examples, self.tokens), generator=random)
        return ids, torch.randint(2, (self.tasks, self.examples), generator=random).float()

    def loss(self, w, ids, y):
        d = self.dim
        x = F.embedding(ids, w[0]) + w[1]
        for layer in (w[2:14], w[14:26]):
            in_w, in_b, out_w, out_b, g1, b1, up_w, up_b, down_w, down_b, g2, b2 = layer
            packed = F.linear(x, in_w, in_b).view(*x.shape[:2], 3, self.heads, d // self.heads)
            q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
            # The composite: PyTorch's fused attention has no second derivative.
            a = torch.softmax(q @ k.transpose(-1, -2) / (d // self.heads) ** 0.5, -1) @ v
            x = F.layer_norm(x + F.linear(a.transpose(1, 2).reshape(x.shape), out_w, out_b), (d,), g1, b1)
            x = F.layer_norm(x + F.linear(F.gelu(F.linear(x, up_w, up_b)), down_w, down_b), (d,), g2, b2)
        return F.binary_cross_entropy_with_logits(F.linear(x.mean(1), w[-2], w[-1]).squeeze(-1), y)


def one_by_one(problem):
    weights = [w.requires_grad_() for w in problem.weights]

    def adapted(x, y):
        w = weights
        for _ in range(STEPS):
            slopes = torch.autograd.grad(problem.loss(w, x, y), w, create_graph=True)
            w = [a - RATE * s for a, s in zip(w, slopes)]
        return w

    def step():
        for w in weights:
            w.grad = None
        for t in range(problem.tasks):
            w = adapted(problem.support[0][t], problem.support[1][t])
            problem.loss(w, problem.query[0][t], problem.query[1][t]).backward()

    return step


def all_at_once(problem):
    weights = tuple(problem.weights)

    def of_task(w, x, y, query_x, query_y):
        for _ in range(STEPS):
            slopes = torch.func.grad(problem.loss)(w, x, y)
            w = tuple(a - RATE * s for a, s in zip(w, slopes))
        return problem.loss(w, query_x, query_y)

    def meta_loss(w):
        return torch.func.vmap(of_task, in_dims=(None, 0, 0, 0, 0))(w, *problem.support, *problem.query).sum()

    return lambda: torch.func.grad(meta_loss)(weights)


rows = Rows()
rows.add("mlp/second/K5", lambda: one_by_one(Mlp()))
rows.add("mlp_vmap/second/K5", lambda: all_at_once(Mlp()))
rows.add("encoder/second/K5", lambda: one_by_one(Encoder()))
rows.run()
