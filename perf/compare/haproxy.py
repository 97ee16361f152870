#!/usr/bin/env python3
"""The gateway and HAProxy (TCP mode, nbthread 1) between the same load and the same vendor, in turn, in one run.

HAProxy parses nothing: it is the limit that a relay is held against. For each shape the two are run A B A B …, and the
medians and the ratio of each pair are printed; one JSON line for the whole run is appended to perf/results.jsonl.

    perf/compare/haproxy.py [--rounds 5] [--seconds 4] [--shapes 10x100,100x10,1000x10,200x1] [--only NAME]

Needs the programs built (`cargo build --release`) and HAProxy (the machine's package). Nothing else should run beside it.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    """Below the ports that the kernel gives to outgoing connections, or one that asks whether somebody listens may meet itself."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def wait_for(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port} after {seconds} s")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


class Process:
    """A program that is started, waited for, and stopped by its own process id."""

    def __init__(self, arguments):
        self.child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(35)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Vendor(Process):
    def __init__(self, *options):
        self.port = free_port()
        super().__init__([TARGET / "smpp-bench", "smsc", "--listen", f"127.0.0.1:{self.port}", *options])
        wait_for(self.port)


class HAProxy(Process):
    name = "haproxy"

    def __init__(self, vendor_port, folder, _sessions, _window):
        self.port = free_port()
        path = pathlib.Path(folder) / "haproxy.cfg"
        path.write_text(
            "global\n  nbthread 1\n  maxconn 4000\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
            f"frontend front\n  bind 127.0.0.1:{self.port}\n  default_backend back\n"
            f"backend back\n  server vendor 127.0.0.1:{vendor_port}\n"
        )
        super().__init__(["haproxy", "-db", "-f", path])
        wait_for(self.port)


class Gateway(Process):
    name = "gateway"
    cores = "[0]"
    accept = "relay"
    rows = ""

    def __init__(self, vendor_port, folder, sessions, window):
        self.port, self.control, self.metrics = free_port(), free_port(), free_port()
        binds = 2
        vendor_window = min(32_768, max(1000, sessions * window // binds))
        path = pathlib.Path(folder) / f"{self.name}.toml"
        path.write_text(
            f'[gateway]\nnode_id = "perf"\naccept = "{self.accept}"\ndata_dir = "{folder}"\n'
            f"[shards]\ncores = {self.cores}\npin = true\n"
            f'[smpp]\nlisten = "127.0.0.1:{self.port}"\n'
            f'[control]\nlisten = "127.0.0.1:{self.control}"\nmetrics_listen = "127.0.0.1:{self.metrics}"\n'
            f"{self.tables(vendor_port, binds, vendor_window)}{self.rows}"
        )
        super().__init__([TARGET / "smpp-gateway", "run", "--config", path])
        wait_for(self.port)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{self.control}/ready", timeout=1).status == 200:
                    return
            except OSError:
                time.sleep(0.05)
        sys.exit("the gateway was not ready within 10 s")

    def tables(self, vendor_port, binds, window):
        """The customer, the vendor and the rule, as they stand in the file."""
        return (
            '[[customers]]\nsmpp_system_id = "load"\nsmpp_password = "secret"\nallowed_source_addresses = ["*"]\n'
            '[[vendors]]\ninstance_name = "vendor"\nhost = "127.0.0.1"\n'
            f'port = {vendor_port}\nusername = "gateway"\npassword = "gateway1"\nbinds = {binds}\n'
            f"window_size = {window}\n"
            '[[routing_rules]]\npriority = 10\ndest_pattern = "^1.*"\nvendor = "vendor"\n'
        )


class GatewayOnTwo(Gateway):
    """Two shards; the customer's home is the second one, the vendor's the first."""

    name = "gateway-2-shards"
    cores = "[0, 1]"


def load(port, sessions, window, seconds, folder, rate=None, more=()):
    report = pathlib.Path(folder) / "load.json"
    report.unlink(missing_ok=True)
    command = [
        TARGET / "smpp-bench", "load", "--target", f"127.0.0.1:{port}", "--system-id", "load", "--password", "secret",
        "--sessions", str(sessions), "--window", str(window), "--duration", str(seconds), "--warmup", "1",
        "--quiet", "--json", report, *more,
    ]  # fmt: skip
    if rate:
        command += ["--rate", str(rate)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or not report.exists():
        sys.exit(f"the load failed ({done.returncode}): {done.stdout}{done.stderr}")
    return json.loads(report.read_text())


def measure(relay, vendor_port, sessions, window, seconds, rate=None):
    with tempfile.TemporaryDirectory() as folder:
        process = relay(vendor_port, folder, sessions, window)
        try:
            before = cpu_seconds(process.child.pid)
            report = load(process.port, sessions, window, seconds, folder, rate)
            cpu = cpu_seconds(process.child.pid) - before
            return {
                "rate": report["messages_per_second"],
                "cpu_us": cpu * 1e6 / max(1, report["totals"]["answered"]),
                "p50_us": report["answer_latency"]["p50_us"],
                "p99_us": report["answer_latency"]["p99_us"],
                "ok": report["totals"]["accepted"] == report["totals"]["answered"],
                "rss_mb": resident_mb(process.child.pid),
            }
        finally:
            process.stop()


def compare(first, second, shape, rounds, seconds, rate=None):
    """Rounds of `first` and `second` in turn; the medians of each and of the pairs' ratios."""
    sessions, window = shape
    rows = {first.name: [], second.name: []}
    for _ in range(rounds):
        for relay in (first, second):
            vendor = Vendor()
            try:
                rows[relay.name].append(measure(relay, vendor.port, sessions, window, seconds, rate))
            finally:
                vendor.stop()
    result = {"shape": f"{sessions}x{window}", "rate_asked": rate}
    for name, runs in rows.items():
        result[name] = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0] if key != "ok"}
        result[name]["all_ok"] = all(run["ok"] for run in runs)
    pairs = list(zip(rows[first.name], rows[second.name]))
    for key in ("rate", "cpu_us", "p99_us"):
        ratios = [one[key] / other[key] for one, other in pairs if other[key]]
        if ratios:
            result[f"{key}_ratio"] = round(statistics.median(ratios), 3)
    return result


def show(result, first, second):
    one, other = result[first.name], result[second.name]
    asked = f" at {result['rate_asked']}/s" if result["rate_asked"] else ""
    print(
        f"{result['shape']:>9}{asked}: {first.name} {one['rate']:,.0f} msg/s, {one['cpu_us']:.2f} µs CPU, "
        f"p99 {one['p99_us'] / 1000:.2f} ms | {second.name} {other['rate']:,.0f} msg/s, {other['cpu_us']:.2f} µs CPU, "
        f"p99 {other['p99_us'] / 1000:.2f} ms | ratio: msg/s {result.get('rate_ratio')}, "
        f"CPU {result.get('cpu_us_ratio')}, p99 {result.get('p99_us_ratio')}"
        + ("" if one["all_ok"] and other["all_ok"] else "  (NOT ALL ANSWERED OK)"),
        flush=True,
    )


def machine_line(script, options):
    """What a line of results.jsonl says of the run beside its figures."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "script": script,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit.stdout.strip(),
        "kernel": platform.release().split("-")[0],
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "note": options.note,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--shapes", default="10x100,100x10,1000x10,200x1")
    parser.add_argument("--only", choices=["haproxy", "steady", "shards"])
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    shapes = [tuple(int(part) for part in shape.split("x")) for shape in options.shapes.split(",")]
    results = []
    if options.only in (None, "haproxy"):
        for shape in shapes:
            results.append(compare(Gateway, HAProxy, shape, options.rounds, options.seconds))
            show(results[-1], Gateway, HAProxy)
    if options.only in (None, "steady"):
        results.append(compare(Gateway, HAProxy, (10, 100), options.rounds, options.seconds, rate=20_000))
        show(results[-1], Gateway, HAProxy)
    if options.only in (None, "shards"):
        results.append(compare(GatewayOnTwo, Gateway, (10, 100), options.rounds, options.seconds))
        show(results[-1], GatewayOnTwo, Gateway)
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/haproxy.py", options) | {"results": results}) + "\n")


if __name__ == "__main__":
    main()
