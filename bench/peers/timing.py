"""Timing of the peers' rows: medians of repetitions, threads set before the engine is loaded."""
import argparse
import gc
import json
import os
import re
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--only", default="", help="regular expression that a row's name must match")
parser.add_argument("--seconds", type=float, default=0.2, help="time for each row after warming up")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import torch  # noqa: E402  after the number of threads

torch.set_num_threads(arguments.threads)


def seconds_of(step, count):
    """Elapsed and processor seconds of one of `count` calls."""
    start, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count, (time.process_time() - processor) / count


class Rows:
    """Named benchmarks. A row is made when its turn comes and dropped after it."""

    def __init__(self):
        self.makers = {}

    def add(self, name, make):
        self.makers[name] = make

    def run(self):
        for name, make in self.makers.items():
            if re.search(arguments.only, name):
                self.measure(name, make())
                gc.collect()

    def measure(self, name, step):
        seconds_of(step, 2)
        once, _ = seconds_of(step, 1)
        batch = max(1, int(arguments.seconds / 9 / once))
        repetitions = max(3, min(9, int(arguments.seconds / (once * batch))))
        elapsed, processor = zip(*(seconds_of(step, batch) for _ in range(repetitions)))
        row = {"name": name, "us": 1e6 * statistics.median(elapsed), "cpu_us": 1e6 * statistics.median(processor)}
        print(json.dumps(row), flush=True)
