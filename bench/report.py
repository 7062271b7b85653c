#!/usr/bin/env python3
"""Measures everything that TARGETS names on this machine and writes bench/results/cpu-DATE.md. Some five minutes on an
idle machine, two cores.

    bench/report.py [--out FILE] [--without-peers] [--note TEXT] [--clock real|cpu]
"""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys

import compare

META_STEPS = [f"^{model}/{kind}/K5" for model in ("mlp", "encoder") for kind in ("first", "second", "second_recomputed")]
SECTIONS = [
    # title, program, filter or filters (a process for each: peak memory never falls), threads, counters to show
    ("Attention, one thread", "attention_bench", "(forward|forward_backward|double_backward)/f32/B8/H12/N(128|512)/D64(/real_time)?$"
     "|/f32/B160/H4/N6/D8(/real_time)?$", 1, ["GF/s", "peak_GF/s"]),
    ("Memory-bound kernels, one thread", "memory_bound_bench", ".", 1, ["GB/s", "limit_GB/s", "%_of_limit"]),
    ("Training steps, one thread", "training_bench", "adamw/1|gradient_norm|^cross_entropy", 1,
     ["GB/s", "limit_GB/s", "%_of_limit"]),
    ("Memory-bound kernels, two threads", "memory_bound_bench", "norm|gelu|dropout|bce", 2,
     ["GB/s", "limit_GB/s", "%_of_limit"]),
    ("Small operations, one thread", "overhead_bench", ".", 1, ["per_operation"]),
    ("Second-order MAML, one thread", "maml_bench", META_STEPS, 1, ["GF/s", "peak_GF/s", "peak_MiB"]),
    ("Second-order MAML, two threads", "maml_bench", META_STEPS, 2, ["GF/s", "peak_GF/s", "peak_MiB"]),
]


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=compare.ROOT).stdout.strip()


def processor():
    fields = dict(line.split(":", 1) for line in output("lscpu").splitlines() if ":" in line)
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in fields.get("Flags", "").split()]
    return f"{fields.get('Model name', platform.processor()).strip()}, {os.cpu_count()} cores, {' '.join(flags)}"


def run_benchmark(program, pattern, threads):
    command = [str(compare.BUILD / "bench" / program), f"--benchmark_filter={pattern}", "--benchmark_min_time=0.05",
               "--benchmark_repetitions=3", "--benchmark_format=json"]
    text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
                          # Unbound, two threads can share a core for a whole scheduling period.
                          env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true"}).stdout
    rows = {}
    for row in json.loads(text)["benchmarks"]:
        if row["run_type"] == "iteration":
            rows.setdefault(re.sub("/(real|manual)_time$", "", row["run_name"]), []).append(row)
    return rows


def number(value):
    return f"{value:.3g}" if value < 1e3 else f"{value:.0f}"


def section(title, program, patterns, threads, counters, clock):
    rows = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        rows.update(run_benchmark(program, pattern, threads))
    # GF/s are made of elapsed time, memory's rates with one thread of processor time.
    shown = [c for c in counters if any(c in row for runs in rows.values() for row in runs)
             and (clock == "real" or "GF/s" not in c)]
    lines = [f"## {title} (`{program}`)", "", "| " + " | ".join(["row", "time", *shown]) + " |",
             "|---" * (2 + len(shown)) + "|"]
    scale = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
    for name, runs in rows.items():
        # These benchmarks choose their clock themselves, and do other work between the repetitions.
        of_row = "real" if runs[0]["run_name"].endswith("/manual_time") else clock
        time = statistics.median(row[of_row + "_time"] * scale[row["time_unit"]] for row in runs)
        values = [statistics.median(row[c] for row in runs) if c in runs[0] else None for c in shown]
        # A time per operation is in seconds.
        cells = ["" if v is None else compare.readable(v * 1e6) if c == "per_operation" else number(v)
                 for c, v in zip(shown, values)]
        lines.append("| " + " | ".join([name, compare.readable(time), *cells]) + " |")
    return lines + [""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    today = datetime.date.today().isoformat()
    parser.add_argument("--out", default=str(compare.ROOT / "bench" / "results" / f"cpu-{today}.md"))
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--rounds", type=int, default=3, help="of bench/compare.py")
    parser.add_argument("--note", default="", help="a sentence on the state of the machine")
    parser.add_argument("--clock", choices=("real", "cpu"), default="real")
    arguments = parser.parse_args()
    log = lambda line: print(line, file=sys.stderr, flush=True)

    compare.build(sorted({program for _, program, _, _, _ in SECTIONS} | {"ops_bench"}))
    state = "with local changes" if output("git", "status", "--porcelain", "--untracked-files=no") else "clean"
    lines = [f"# CPU results of {today}", "", f"- Machine: {processor()}",
             f"- Commit: {output('git', 'rev-parse', '--short=12', 'HEAD')} ({state})",
             f"- Load average at the start: {os.getloadavg()[0]:.1f}",
             f"- Times are medians of 3 repetitions, {arguments.clock} time; made by `bench/report.py`."]
    lines += [f"- {arguments.note}"] if arguments.note else []
    lines.append("")
    for title, program, patterns, threads, counters in SECTIONS:
        if arguments.clock == "cpu" and threads > 1:
            continue
        log(title)
        lines += section(title, program, patterns, threads, counters, arguments.clock)
    if not arguments.without_peers:
        results = compare.compare(rounds=arguments.rounds, seconds=0.1, log=log)
        lines += [f"## Against PyTorch {compare.peer_version()}, one thread (`bench/compare.py`)", "",
                  f"Rounds in alternation: {arguments.rounds}. PyTorch's MAML rows run through its composite attention: its fused "
                  "one has no second derivative. `mlp_vmap` is `torch.func`'s vmap over the tasks of `mlp`.", ""]
        lines += compare.table(results, arguments.clock)
    with open(arguments.out, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    log(arguments.out)


if __name__ == "__main__":
    main()
