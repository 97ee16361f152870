#!/usr/bin/env python3
"""Messages a second into the message store, and what each costs: a local Redis and the embedded store in turn.

    perf/compare/store.py [--rounds 3] [--seconds 5] [--binary target/release/examples/store_rate]

Builds control/examples/store_rate.rs unless a binary is given. "sent" writes each message once, "receipts" twice: when a vendor has
taken it, and when its receipt comes. cpu_us is the gateway's share per written message, redis_cpu_us the server's.
"""

import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import tempfile
import time

from haproxy import ROOT, free_port, machine_line

TICKS = os.sysconf("SC_CLK_TCK")


class Redis:
    """A server on a free port that keeps nothing on disk."""

    def __init__(self):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        self.server = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dir", self.folder.name],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                    client.sendall(b"PING\r\n")
                    if client.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            if time.monotonic() > until:
                raise RuntimeError("redis-server does not answer")
            time.sleep(0.05)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self):
        self.server.kill()
        self.server.wait()
        self.folder.cleanup()


def measure(binary, store, extra, seconds):
    if store == "redis":
        redis = Redis()
        try:
            before = redis.cpu()
            report = run(binary, ["--redis", f"127.0.0.1:{redis.port}", *extra], seconds)
            written = max(report["messages_per_second"] * seconds, 1)
            report["redis_cpu_us"] = round((redis.cpu() - before) * 1e6 / written, 2)
            return report
        finally:
            redis.stop()
    with tempfile.TemporaryDirectory() as folder:
        return run(binary, ["--embedded", os.path.join(folder, "store"), *extra], seconds)


def run(binary, arguments, seconds):
    output = subprocess.run([binary, *arguments, "--seconds", str(seconds)], check=True, capture_output=True, text=True)
    return json.loads(output.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--binary")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    binary = options.binary
    if not binary:
        subprocess.run(["cargo", "build", "--release", "-p", "smpp-control", "--example", "store_rate"], cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
        binary = str(ROOT / target / "release" / "examples" / "store_rate")
    results = []
    for name, extra in (("sent", []), ("receipts", ["--receipts"])):
        rounds = {"redis": [], "embedded": []}
        for _ in range(options.rounds):
            for store, reports in rounds.items():
                reports.append(measure(binary, store, extra, options.seconds))
        for store, reports in rounds.items():
            median = {key: round(statistics.median(report[key] for report in reports), 2) for key in reports[0]}
            results.append({"shape": name, "store": store} | median)
            print(f"{name:>9} {store:>9}: {median['messages_per_second']:,.0f} messages/s, "
                  f"{median['cpu_us']} us each", flush=True)
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/store.py", options) | {"results": results}) + "\n")


if __name__ == "__main__":
    main()
