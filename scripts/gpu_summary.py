#!/usr/bin/env python3
"""The report of one run of gpu_report.sh as Markdown: python3 gpu_summary.py FOLDER"""
import json
import pathlib
import sys


def read(folder, name, default=""):
    path = folder / name
    return path.read_text().strip() if path.exists() else default


def main():
    folder = pathlib.Path(sys.argv[1])
    device = read(folder, "device.csv").splitlines()[-1]
    print(f"# GPU report\n\n{device}; {read(folder, 'date')}; commit {read(folder, 'commit')}\n")
    print("| step | result | seconds |\n|---|---|---|")
    latest = {line.split()[0]: line.split() for line in read(folder, "steps").splitlines()}
    for step, state, seconds in latest.values():
        print(f"| {step} | {state} | {seconds} |")
    if not (folder / "bench.json").exists():
        return
    bench = json.loads((folder / "bench.json").read_text())
    peers = json.loads(read(folder, "peers.json", "{}")).get("rows", {})
    rows = [b for b in bench["benchmarks"] if b.get("aggregate_name") == "median"]
    if rows:
        print(f"\nProbes of the same process: copy {rows[0]['probe_GB/s']:.0f} GB/s, bf16 product "
              f"{rows[0]['probe_TFLOP/s']:.0f} TFLOP/s. A row's limit is the slower of its bytes and its FLOP at these "
              "rates.\n")
    print("| row | us | GB/s | TFLOP/s | % of limit | peers, us |\n|---|---|---|---|---|---|")
    for b in rows:
        name = b["run_name"].removesuffix("/manual_time")
        others = ", ".join(f"{k} {v:.0f}" if isinstance(v, float) else f"{k} {v}" for k, v in peers.get(name, {}).items())
        print(f"| {name} | {b['real_time']:.1f} | {b['GB/s']:.0f} | {b['TFLOP/s']:.1f} | {b['%_of_limit']:.0f} | {others} |")


if __name__ == "__main__":
    main()
