#!/usr/bin/env python3
"""What an outage of Redis costs: the same load with Redis there, silent (stopped, its connections open) and gone.

The gateway keeps a journal, writes what becomes of each message to Redis and leases the customer's limit there. Messages that can
be routed are to pass at 0.95 of the undisturbed speed or more, none refused: at a steady rate, and as fast as they go.

    perf/compare/outage.py [--rounds 3] [--seconds 4]

Runs alternate; the medians and the medians of the ratios are printed, and one JSON line is appended to perf/results.jsonl. Needs
the programs built (`cargo build --release`) and redis-server. Nothing else should run beside it.
"""

import argparse
import json
import signal
import statistics
import time
import urllib.request

from haproxy import ROOT, Gateway, Vendor, load, machine_line
from journal import folder_on_disk, verdict
from store import Redis

WANTED = 0.95
STATES = ("there", "silent", "gone")


class WithRedis(Gateway):
    name = "with-redis"
    accept = "journal"

    def __init__(self, redis, *arguments):
        self.rows = f'[redis]\nurl = "redis://127.0.0.1:{redis.port}"\n'
        super().__init__(*arguments)

    def wait_until_missed(self, seconds=30):
        end = time.monotonic() + seconds
        while '"service"' not in urllib.request.urlopen(f"http://127.0.0.1:{self.control}/health", timeout=5).read().decode():
            if time.monotonic() > end:
                raise SystemExit("/health does not tell that Redis is away")
            time.sleep(0.1)


def measure(state, folder, seconds, rate):
    redis, vendor = Redis(), Vendor("--deliver-window", "1000")
    try:
        gateway = WithRedis(redis, vendor.port, folder, 10, 100)
        try:
            if state == "silent":
                redis.server.send_signal(signal.SIGSTOP)
            elif state == "gone":
                redis.server.kill()
            if state != "there":
                load(gateway.port, 1, 10, 1, folder, 100)
                gateway.wait_until_missed()
            report = load(gateway.port, 10, 100, seconds, folder, rate)
            return {
                "rate": report["messages_per_second"],
                "p99_us": report["answer_latency"]["p99_us"],
                "ok": report["totals"]["accepted"] == report["totals"]["answered"],
            }
        finally:
            gateway.stop()
    finally:
        vendor.stop()
        redis.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--data-dir")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    results = []
    with folder_on_disk(options.data_dir) as (folder, _):
        for name, rate in (("steady", 20_000), ("full", None)):
            rows = {state: [] for state in STATES}
            for _ in range(options.rounds):
                for state in STATES:
                    rows[state].append(measure(state, folder, options.seconds, rate))
            for state in STATES:
                runs = rows[state]
                ratio = round(statistics.median(run["rate"] / there["rate"] for run, there in zip(runs, rows["there"])), 3)
                row = {
                    "load": name,
                    "redis": state,
                    "rate": round(statistics.median(run["rate"] for run in runs)),
                    "p99_us": round(statistics.median(run["p99_us"] for run in runs)),
                    "ratio": ratio,
                    "all_ok": all(run["ok"] for run in runs),
                }
                results.append(row)
                told = "" if state == "there" else f", {ratio} of undisturbed (wanted {WANTED}: {verdict(ratio >= WANTED)})"
                refused = "" if row["all_ok"] else "  (NOT ALL ANSWERED OK)"
                print(f"{name:>7} {state:>7}: {row['rate']:,} msg/s, p99 {row['p99_us'] / 1000:.2f} ms{told}{refused}", flush=True)
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/outage.py", options) | {"results": results}) + "\n")


if __name__ == "__main__":
    main()
