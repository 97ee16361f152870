#!/usr/bin/env python3
"""What an outage of Redis or of PostgreSQL costs: the same load with the service there, silent (stopped, its connections open) and gone.

The gateway keeps a journal. With Redis it writes what becomes of each message there and leases the customer's limit; with PostgreSQL
customer, vendor and rule are rows of it, and the vendor's health is written back. Messages that can be routed are to pass at 0.95 of
the undisturbed speed or more, none refused: at a steady rate, and as fast as they go.

    perf/compare/outage.py [--rounds 3] [--seconds 4] [--only redis|postgresql]

Runs alternate; the medians and the medians of the ratios are printed, and one JSON line is appended to perf/results.jsonl. Needs
the programs built (`cargo build --release`), redis-server and PostgreSQL. Nothing else should run beside it.
"""

import argparse
import json
import pathlib
import signal
import statistics
import subprocess
import time
import urllib.request

from haproxy import ROOT, TARGET, Gateway, Vendor, load, machine_line
from journal import folder_on_disk, verdict
from postgres import Postgres
from store import Redis

WANTED = 0.95
STATES = ("there", "silent", "gone")


class WithService(Gateway):
    accept = "journal"

    def wait_until_missed(self, seconds=30):
        end = time.monotonic() + seconds
        while '"service"' not in urllib.request.urlopen(f"http://127.0.0.1:{self.control}/health", timeout=5).read().decode():
            if time.monotonic() > end:
                raise SystemExit(f"/health does not tell that the service of {self.name} is away")
            time.sleep(0.1)


class WithRedis(WithService):
    name = "redis"

    def __init__(self, *arguments):
        self.redis = Redis()
        self.rows = f'[redis]\nurl = "redis://127.0.0.1:{self.redis.port}"\n'
        super().__init__(*arguments)

    def silence(self):
        self.redis.server.send_signal(signal.SIGSTOP)

    def kill(self):
        self.redis.server.kill()

    def stop(self):
        super().stop()
        self.redis.stop()


class WithPostgres(WithService):
    name = "postgresql"

    def __init__(self, vendor_port, folder, *arguments):
        self.postgres, self.folder = Postgres(), folder
        super().__init__(vendor_port, folder, *arguments)

    def tables(self, vendor_port, binds, window):
        url = f'[postgres]\nurl = "{self.postgres.url()}"\n'
        path = pathlib.Path(self.folder) / "migrate.toml"
        path.write_text(f'[gateway]\ndata_dir = "{self.folder}"\n{url}')
        self.postgres.run([TARGET / "smpp-gateway", "migrate", "--config", path])
        hashing = [TARGET / "smpp-gateway", "hash-password"]
        made = subprocess.run(hashing, input="secret\n", capture_output=True, text=True, check=True).stdout.strip()
        self.postgres.sql(
            "INSERT INTO messaging.customer_sms_auth (account_id, auth_type, smpp_system_id, smpp_password_hash, smpp_max_binds, "
            f"smpp_throughput, allowed_source_addresses) VALUES ('load', 'SMPP', 'load', '{made}', 1000, 10000000, '{{*}}'); "
            "INSERT INTO messaging.vendors (instance_name, host, port, username, password, binds, window_size) "
            f"VALUES ('vendor', '127.0.0.1', {vendor_port}, 'gateway', 'gateway1', {binds}, {window}); "
            "INSERT INTO messaging.routing_rules (priority, vendor_id, dest_pattern) SELECT 10, id, '^1.*' FROM messaging.vendors"
        )
        return url

    def silence(self):
        self.postgres.silence()

    def kill(self):
        self.postgres.kill()

    def stop(self):
        super().stop()
        self.postgres.stop()


def measure(kind, state, folder, seconds, rate):
    vendor = Vendor("--deliver-window", "1000")
    try:
        gateway = kind(vendor.port, folder, 10, 100)
        try:
            if state == "silent":
                gateway.silence()
            elif state == "gone":
                gateway.kill()
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


def compare(kind, name, rate, folder, options):
    """Rounds of all states in turn; a row for each."""
    rows = {state: [] for state in STATES}
    for _ in range(options.rounds):
        for state in STATES:
            rows[state].append(measure(kind, state, folder, options.seconds, rate))
    for state, runs in rows.items():
        ratio = round(statistics.median(run["rate"] / there["rate"] for run, there in zip(runs, rows["there"])), 3)
        row = {
            "service": kind.name,
            "load": name,
            "state": state,
            "rate": round(statistics.median(run["rate"] for run in runs)),
            "p99_us": round(statistics.median(run["p99_us"] for run in runs)),
            "ratio": ratio,
            "all_ok": all(run["ok"] for run in runs),
        }
        told = "" if state == "there" else f", {ratio} of undisturbed (wanted {WANTED}: {verdict(ratio >= WANTED)})"
        refused = "" if row["all_ok"] else "  (NOT ALL ANSWERED OK)"
        print(
            f"{kind.name:>10} {state:>6}, {name:>6}: {row['rate']:,} msg/s, p99 {row['p99_us'] / 1000:.2f} ms{told}{refused}",
            flush=True,
        )
        yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", choices=["redis", "postgresql"])
    parser.add_argument("--data-dir")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    results = []
    with folder_on_disk(options.data_dir) as (folder, _):
        for kind in (WithRedis, WithPostgres):
            if options.only in (None, kind.name):
                for name, rate in (("steady", 20_000), ("full", None)):
                    results += compare(kind, name, rate, folder, options)
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/outage.py", options) | {"results": results}) + "\n")


if __name__ == "__main__":
    main()
