"""Timing of the peers' rows: medians of repetitions, threads set before the engine is loaded."""
import argparse
import gc
import json
import os
import re
import resource
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


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_of(step, count):
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


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
        base = peak_mib()
        seconds_of(step, 2)
        once = seconds_of(step, 1)
        batch = max(1, int(arguments.seconds / 9 / once))
        repetitions = max(3, min(9, int(arguments.seconds / (once * batch))))
        times = [seconds_of(step, batch) for _ in range(repetitions)]
        row = {"name": name, "us": 1e6 * statistics.median(times), "grown_mib": peak_mib() - base}
        print(json.dumps(row), flush=True)
