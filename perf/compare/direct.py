#!/usr/bin/env python3
"""The load generator straight against the simulated vendor, no gateway between: what the instrument can do.

    perf/compare/direct.py [--rounds 5] [--seconds 3] [--shapes 10x100,100x10,1000x10,200x1]
"""

import argparse
import json
import statistics
import tempfile

from haproxy import ROOT, Vendor, load, machine_line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--shapes", default="10x100,100x10,1000x10,200x1")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    results = []
    for shape in options.shapes.split(","):
        sessions, window = (int(part) for part in shape.split("x"))
        rates = []
        for _ in range(options.rounds):
            vendor = Vendor()
            try:
                with tempfile.TemporaryDirectory() as folder:
                    report = load(vendor.port, sessions, window, options.seconds, folder)
                    rates.append(report["messages_per_second"])
            finally:
                vendor.stop()
        results.append({"shape": shape, "median": round(statistics.median(rates)), "best": round(max(rates))})
        print(f"{shape:>9}: {results[-1]['median']:,} msg/s median, {results[-1]['best']:,} best of {options.rounds}", flush=True)
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/direct.py", options) | {"results": results}) + "\n")


if __name__ == "__main__":
    main()
