#!/usr/bin/env python3
"""Ten thousand bound idle sessions beside a hundred busy ones: the gateway's memory, and whether the busy ones feel it.

The same load runs with and without the idle sessions, in turn; the medians and the ratio are printed, and one JSON line is
appended to perf/results.jsonl. The idle sessions are held by a program of their own, so that what they cost the load is not
taken for what they cost the gateway; they are bound before the load begins, and binding them is not measured.

    perf/compare/idle.py [--rounds 3] [--seconds 4] [--idle 10000] [--rate 20000]
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
import urllib.request

from haproxy import Gateway, Process, ROOT, TARGET, Vendor, cpu_seconds, load, machine_line, resident_mb


class IdleSessions(Process):
    """Sessions that are bound and kept alive, and nothing else."""

    def __init__(self, gateway, count):
        super().__init__([
            TARGET / "smpp-bench", "load", "--target", f"127.0.0.1:{gateway.port}", "--system-id", "load",
            "--password", "secret", "--sessions", "0", "--idle-sessions", str(count), "--duration", "3600", "--quiet",
        ])  # fmt: skip
        end = time.monotonic() + 60
        while active_sessions(gateway) < count:
            if time.monotonic() > end or self.child.poll() is not None:
                sys.exit(f"only {active_sessions(gateway)} of {count} idle sessions were bound")
            time.sleep(0.2)


def active_sessions(gateway):
    text = urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics}/metrics", timeout=5).read().decode()
    return int(re.search(r"^smpp_server_active_sessions_total (\d+)", text, re.MULTILINE).group(1))


def run(idle, seconds, rate):
    vendor = Vendor()
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(vendor.port, folder, 100, 10)
        sessions = IdleSessions(gateway, idle) if idle else None
        try:
            time.sleep(1)
            before = cpu_seconds(gateway.child.pid)
            result = load(gateway.port, 100, 10, seconds, folder, rate)
            return {
                "rate": result["messages_per_second"],
                "p50_us": result["answer_latency"]["p50_us"],
                "p99_us": result["answer_latency"]["p99_us"],
                "cpu_us": (cpu_seconds(gateway.child.pid) - before) * 1e6 / max(1, result["totals"]["answered"]),
                "rss_mb": resident_mb(gateway.child.pid),
            }
        finally:
            if sessions:
                sessions.stop()
            gateway.stop()
            vendor.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    rows = {"without": [], "with": []}
    for _ in range(options.rounds):
        rows["without"].append(run(0, options.seconds, options.rate))
        rows["with"].append(run(options.idle, options.seconds, options.rate))
    result = {"idle": options.idle, "busy": 100, "rate_asked": options.rate}
    for name, runs in rows.items():
        result[name] = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
    ratios = [one["p99_us"] / other["p99_us"] for one, other in zip(rows["with"], rows["without"])]
    result["p99_us_ratio"] = round(statistics.median(ratios), 3)
    for name in rows:
        one = result[name]
        print(
            f"{name:>8} {options.idle} idle sessions: {one['rate']:,.0f} msg/s over 100 busy ones, p50 {one['p50_us']:.0f} µs, "
            f"p99 {one['p99_us']:.0f} µs, {one['cpu_us']:.2f} µs CPU a message, {one['rss_mb']:.0f} MB resident"
        )
    print(f"p99 with over without: {result['p99_us_ratio']}")
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/idle.py", options) | {"results": [result]}) + "\n")


if __name__ == "__main__":
    main()
