#!/usr/bin/env python3
"""What PyTorch needs for the rows of gpu_bench, on the same GPU: python3 gpu_peers.py OUT.json

Scaled dot-product attention by its flash, cuDNN and math back ends (the math one also twice differentiated), layer norm,
binary cross-entropy, cross-entropy and fused AdamW. Times are medians by CUDA events, in microseconds, under the names that
gpu_bench gives its rows.
"""
import json
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def microseconds(run, repetitions=9):
    run()
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def timed(calls):
        begin.record()
        for _ in range(calls):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e3 / calls

    calls = max(1, min(200, int(2000 / max(timed(1), 1))))
    return statistics.median(timed(calls) for _ in range(repetitions))


def attention(rows, dtype, batch, heads, length, dim, causal=False):
    at = f"{dtype}/B{batch}/H{heads}/N{length}/D{dim}" + ("/causal" if causal else "")

    def operand():
        x = torch.rand(batch, length, heads, dim, device="cuda", dtype=DTYPES[dtype]) * 4 - 2
        return x.transpose(1, 2).requires_grad_()

    q, k, v = operand(), operand(), operand()
    dout = torch.rand_like(q)
    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "math": SDPBackend.MATH}
    for name, backend in backends.items():
        if name == "math" and length > 4096:
            continue
        try:
            with sdpa_kernel(backend):
                forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                with torch.no_grad():
                    rows[f"attention_forward/{at}"][name] = microseconds(forward)
                out = forward()
                backward = lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)
                rows[f"attention_backward/{at}"][name] = microseconds(backward)
                if name != "math":
                    continue
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
                dout.requires_grad_()
                d = torch.autograd.grad(out, (q, k, v), dout, create_graph=True)
                dd = [torch.rand_like(x) for x in d]
                second = lambda: torch.autograd.grad(d, (q, k, v, dout), dd, retain_graph=True)
                rows[f"attention_double_backward/{at}"][name] = microseconds(second)
                rows[f"attention_double_backward/{at}"]["math_extra_bytes"] = torch.cuda.max_memory_allocated() - before
        except (RuntimeError, torch.OutOfMemoryError) as error:
            rows[f"attention_forward/{at}"][name + "_error"] = str(error).splitlines()[0]
        torch.cuda.empty_cache()


def memory_bound(rows):
    n, width = 131072, 768
    for dtype in ("bf16", "f32"):
        x = torch.randn(n, width, device="cuda", dtype=DTYPES[dtype], requires_grad=True)
        gamma = torch.randn(width, device="cuda", dtype=DTYPES[dtype], requires_grad=True)
        beta = torch.randn(width, device="cuda", dtype=DTYPES[dtype], requires_grad=True)
        dy = torch.randn_like(x)
        at = f"{dtype}/{n}x{width}"
        with torch.no_grad():
            rows[f"layer_norm_forward/{at}"]["torch"] = microseconds(lambda: F.layer_norm(x, (width,), gamma, beta))
        y = F.layer_norm(x, (width,), gamma, beta)
        rows[f"layer_norm_backward/{at}"]["torch"] = microseconds(
            lambda: torch.autograd.grad(y, (x, gamma, beta), dy, retain_graph=True))
        del x, y, dy
        count = 1 << 27
        logits = torch.randn(count, device="cuda", dtype=DTYPES[dtype], requires_grad=True)
        target = torch.rand(count, device="cuda", dtype=DTYPES[dtype])

        def bce():
            logits.grad = None
            F.binary_cross_entropy_with_logits(logits, target).backward()

        rows[f"bce_forward_and_gradient/{dtype}/{count}"]["torch"] = microseconds(bce)
        del logits, target
        tokens, classes = 8192, 30522
        z = torch.randn(tokens, classes, device="cuda", dtype=DTYPES[dtype], requires_grad=True)
        ids = torch.randint(classes, (tokens,), device="cuda")

        def cross_entropy():
            z.grad = None
            F.cross_entropy(z, ids).backward()

        rows[f"cross_entropy_forward_and_backward/{dtype}/{tokens}x{classes}"]["torch"] = microseconds(cross_entropy)
        del z
        torch.cuda.empty_cache()
        for m in (1024, 4096, 8192):
            a = torch.randn(m, m, device="cuda", dtype=DTYPES[dtype])
            b = torch.randn(m, m, device="cuda", dtype=DTYPES[dtype])
            rows[f"matmul/{dtype}/{m}"]["torch"] = microseconds(lambda: a @ b)
    parameters = [torch.randn(550_000, device="cuda", requires_grad=True) for _ in range(200)]
    for p in parameters:
        p.grad = torch.randn_like(p)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    rows["adam_step/f32/110M"]["torch"] = microseconds(optimizer.step)


class Rows(dict):
    def __missing__(self, key):
        return self.setdefault(key, {})


def main():
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    rows = Rows()
    for length in (512, 1024, 2048, 4096, 8192, 16384):
        for dim in (64, 128):
            attention(rows, "bf16", 16384 // length, 2048 // dim, length, dim)
    attention(rows, "bf16", 128, 12, 128, 64)
    attention(rows, "bf16", 8, 16, 2048, 64, True)
    attention(rows, "f16", 8, 32, 2048, 64)
    attention(rows, "f32", 8, 16, 1024, 64)
    memory_bound(rows)
    with open(sys.argv[1], "w") as file:
        json.dump({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
