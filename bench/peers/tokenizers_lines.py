"""The tokenizer beside the library `tokenizers`: the ids of every line of a text have to be the same, then both are
timed in turns on the same lines and threads, and the medians printed. Ends with 1 when ids differ.

    pip install tokenizers==0.23.3
    python tokenizers_lines.py build/cpu/bench/tokenizer_bench TOKENIZER.json TEXT [--threads 1] [--rounds 5]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("bench")
parser.add_argument("tokenizer")
parser.add_argument("text", help="UTF-8 or not: what is not counts as U+FFFD in both")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=5)
arguments = parser.parse_args()
os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
os.environ["TOKENIZERS_PARALLELISM"] = "true" if arguments.threads > 1 else "false"

import tokenizers  # noqa: E402  after the number of threads

reference = tokenizers.Tokenizer.from_file(arguments.tokenizer)
reference.no_truncation()
reference.no_padding()
raw = open(arguments.text, "rb").read().split(b"\n")
if raw[-1] == b"":
    raw.pop()
lines = [line.decode("utf-8", "replace") for line in raw]


def ours(*command):
    command = [arguments.bench, command[0], arguments.tokenizer, arguments.text, *command[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def theirs():
    start, processor = time.perf_counter(), time.process_time()
    encodings = reference.encode_batch_fast(lines)  # the faster one: without offsets
    return time.perf_counter() - start, time.process_time() - processor, encodings


expected = [" ".join(map(str, e.ids)) for e in reference.encode_batch(lines)]
differing = [i + 1 for i, (a, b) in enumerate(zip(expected, ours("ids").split("\n"))) if a != b]
print(f"{len(lines)} lines, {len(differing)} with other ids than tokenizers {tokenizers.__version__}", flush=True)
if differing:
    print("first lines:", differing[:10])

mine, peer = [], []
for _ in range(arguments.rounds):
    row = json.loads(ours("time", str(arguments.threads)))
    mine.append((row["s"], row["processor_s"]))
    peer.append(theirs()[:2])
for name, rows in (("mettle", mine), ("tokenizers", peer)):
    seconds, processor = (statistics.median(column) for column in zip(*rows))
    print(json.dumps({"name": name, "threads": arguments.threads, "s": round(seconds, 4),
                      "processor_s": round(processor, 4), "lines_per_s": round(len(lines) / seconds),
                      "lines_per_processor_s": round(len(lines) / processor)}))
sys.exit(1 if differing else 0)
