#!/usr/bin/env python3
"""Runs the rows that Mettle and PyTorch share, in alternation, and prints times and ratios.

    bench/compare.py [--threads 1] [--rounds 3] [--only REGEX] [--clock real|cpu]

PyTorch is installed from PyPI into a virtual environment outside of the source tree on the first run
(METTLE_PEERS_VENV, default ~/.cache/mettle/peers); Mettle's benchmarks are built in build/cpu. Every figure is the median
of the rounds' medians. `--clock cpu` compares processor time, which other work on the machine disturbs less than
elapsed time; it means something with one thread only.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "cpu"
PEERS = ROOT / "bench" / "peers"

# A program of ours and the script with the same rows. Rows of whole models run in processes of their own: peak memory
# counts.
GROUPS = [
    ("ops_bench", "torch_ops.py", "."),
    ("maml_bench", "torch_maml.py", "^mlp/second/K5"),
    (None, "torch_maml.py", "^mlp_vmap/second/K5"),
    ("maml_bench", "torch_maml.py", "^encoder/second/K5"),
    ("bert_bench", "torch_bert.py", "^minilm/forward"),
    ("bert_bench", "torch_bert.py", "^minilm/train"),
    ("bert_bench", "torch_bert.py", "^base/forward"),
    ("bert_bench", "torch_bert.py", "^base/train"),
]
# Rows that have a process to themselves, so that its peak memory is theirs.
OF_ITS_OWN = re.compile("second/K5|^(minilm|base)/")


def run(command, **options):
    return subprocess.run(command, check=True, text=True, **options)


def build(targets):
    if not (BUILD / "build.ninja").exists():
        run(["cmake", "--preset", "cpu"], cwd=ROOT, stdout=subprocess.DEVNULL)
    run(["cmake", "--build", BUILD, "-j", str(os.cpu_count()), "--target", *targets], cwd=ROOT,
        stdout=subprocess.DEVNULL)


def peer_python():
    """The interpreter of the virtual environment, made when it is missing."""
    default = pathlib.Path.home() / ".cache" / "mettle" / "peers"
    folder = pathlib.Path(os.environ.get("METTLE_PEERS_VENV", default))
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"Installing PyTorch into {folder}", file=sys.stderr)
        run([sys.executable, "-m", "venv", folder])
    if subprocess.run([python, "-c", "import torch, numpy, transformers"], stderr=subprocess.DEVNULL).returncode:
        run([python, "-m", "pip", "install", "--quiet", "torch", "numpy", "transformers"])
    return python


def measure(command, parse, environment):
    """Rows of one process, by name, each with the process's peak memory in MiB."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment,
                               stderr=subprocess.DEVNULL)
    rows = parse(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with exit code {process.returncode}")
    for row in rows.values():
        row["peak_mib"] = usage.ru_maxrss / 1024
    return rows


def parse_ours(text):
    scale = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}
    return {
        row["name"].removesuffix("/real_time"): {
            "real": row["real_time"] * scale[row["time_unit"]],
            "cpu": row["cpu_time"] * scale[row["time_unit"]],
        }
        for row in (json.loads(text)["benchmarks"] if text else [])  # none matched: no output at all
    }


def parse_peer(text):
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {row["name"]: {"real": row["us"], "cpu": row["cpu_us"]} for row in rows}


def measure_ours(program, pattern, threads, seconds):
    command = [BUILD / "bench" / program, f"--benchmark_filter={pattern}", f"--benchmark_min_time={seconds}",
               "--benchmark_format=json"]
    return measure(command, parse_ours, {**os.environ, "OMP_NUM_THREADS": str(threads)})


def measure_peer(python, script, pattern, threads, seconds):
    command = [python, PEERS / script, "--threads", threads, "--only", pattern, "--seconds", seconds]
    return measure(command, parse_peer, dict(os.environ))


def compare(threads=1, rounds=3, only="", seconds=0.15, log=lambda line: None):
    """name -> {"ours": row, "peer": row}, each the median over the rounds; one side may be missing."""
    build(sorted({program for program, _, _ in GROUPS if program}))
    python = peer_python()
    samples = {}
    for turn in range(rounds):
        for program, script, pattern in GROUPS:
            if only and pattern == ".":
                pattern = only
            elif not re.search(only, pattern):
                continue
            log(f"round {turn + 1} of {rounds}: {script} {pattern}")
            sides = {"peer": measure_peer(python, script, pattern, threads, seconds)}
            if program:
                sides["ours"] = measure_ours(program, pattern, threads, seconds)
            for side, rows in sides.items():
                for name, row in rows.items():
                    samples.setdefault(name, {}).setdefault(side, []).append(row)
    median = lambda rows: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return {name: {side: median(rows) for side, rows in sides.items()} for name, sides in samples.items()}


def readable(us):
    return f"{us:.2f} us" if us < 1e3 else f"{us / 1e3:.2f} ms"


def table(results, clock):
    """Markdown lines."""
    lines = ["| row | Mettle | PyTorch | PyTorch / Mettle | peak MiB of the process: Mettle, PyTorch |", "|---|---|---|---|---|"]
    for name, sides in results.items():
        ours, peer = sides.get("ours"), sides.get("peer")
        times = [readable(side[clock]) if side else "-" for side in (ours, peer)]
        ratio = f"{peer[clock] / ours[clock]:.2f}" if ours and peer else "-"
        memory = ", ".join(f"{side['peak_mib']:.0f}" if side else "-" for side in (ours, peer))
        lines.append(f"| {name} | {times[0]} | {times[1]} | {ratio} | {memory if OF_ITS_OWN.search(name) else ''} |")
    return lines


def peer_version():
    command = [peer_python(), "-c", "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"]
    return run(command, stdout=subprocess.PIPE).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="regular expression")
    parser.add_argument("--clock", choices=("real", "cpu"), default="real")
    arguments = parser.parse_args()
    if arguments.clock == "cpu" and arguments.threads > 1:
        parser.error("--clock cpu compares single threads only")
    results = compare(arguments.threads, arguments.rounds, arguments.only,
                      log=lambda line: print(line, file=sys.stderr))
    print(f"PyTorch {peer_version()}, {arguments.threads} thread(s), {arguments.clock} time\n")
    print("\n".join(table(results, arguments.clock)))


if __name__ == "__main__":
    main()
