#!/usr/bin/env python3
"""/metrics with ten thousand customers: how long a scrape takes, and whether customers' answers feel it.

All customers bind and send first, so that each has its series. Then scrapes one after the other on an idle gateway (the time to the
last octet: median, worst, processor time of the gateway), and the same steady load with a scrape every second and without, in turn:
p99 of submit to answer. Who scrapes has a low priority, for in earnest that is another machine. Wanted: a scrape below 100 ms, and a
p99 that is no worse than the worst of the runs without scrapes, or 1.1 times their median.

    perf/compare/metrics.py [--customers 10000] [--rounds 5] [--seconds 6] [--rate 20000]

One JSON line is appended to perf/results.jsonl. Needs the programs built (`cargo build --release`). Nothing else should run beside it.
"""

import argparse
import json
import multiprocessing
import os
import re
import signal
import socket
import statistics
import tempfile
import time

from haproxy import ROOT, Gateway, Vendor, cpu_seconds, load, machine_line
from journal import verdict

SCRAPE_MS_WANTED = 100
P99_RATIO_WANTED = 1.1

# Scrapes of an idle gateway, one after the other.
SCRAPES = 100

# Each customer has at least so many series.
SERIES = b'smpp_server_submit_sm_total{customer_id="'


class ManyCustomers(Gateway):
    """The load's own customer, and those that make the text long."""

    name = "many-customers"

    def __init__(self, customers, *arguments):
        row = '[[customers]]\nsmpp_system_id = "load{}"\nsmpp_password = "secret"\nallowed_source_addresses = ["*"]\n'
        self.rows = "".join(row.format(number) for number in range(1, customers + 1))
        super().__init__(*arguments)


class Scraper:
    """A connection that stands, as Prometheus keeps its own; what it reads costs as little as can be."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), 30)
        self.buffer = bytearray(1 << 20)

    def receive(self):
        count = self.connection.recv_into(self.buffer)
        if count == 0:
            raise SystemExit("the gateway has closed the connection")
        return count

    def scrape(self, keep=None):
        """Milliseconds to the last octet; the text's octets are added to `keep`."""
        start = time.monotonic()
        self.connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: gateway\r\n\r\n")
        count = self.receive()
        head, _, text = bytes(self.buffer[:count]).partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not head.startswith(b"HTTP/1.1 200") or not length:
            raise SystemExit(f"/metrics answered {head}")
        left = int(length.group(1)) - len(text)
        if keep is not None:
            keep += text
        while left > 0:
            count = self.receive()
            if keep is not None:
                keep += self.buffer[:count]
            left -= count
        return (time.monotonic() - start) * 1000


def wait_for_series(gateway, customers, seconds=30):
    """The text, once every customer has its series: shards report once a second."""
    scraper, end = Scraper(gateway.metrics), time.monotonic() + seconds
    while True:
        text = bytearray()
        scraper.scrape(text)
        found = text.count(SERIES)
        if found > customers:
            return bytes(text)
        if time.monotonic() > end:
            raise SystemExit(f"{found} of {customers + 1} customers have series after {seconds} s")
        time.sleep(0.5)


def scrape_idle(gateway):
    """Scrapes one after the other: milliseconds of each, and the gateway's processor time for one."""
    scraper, before = Scraper(gateway.metrics), cpu_seconds(gateway.child.pid)
    times = [scraper.scrape() for _ in range(SCRAPES)]
    return times, (cpu_seconds(gateway.child.pid) - before) * 1000 / SCRAPES


def scrape_on(port, stop, results):
    """A scrape every second, in a process of its own; milliseconds of each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(19)
    scraper, times = Scraper(port), []
    while not stop.wait(max(0.0, 1 - times[-1] / 1000) if times else 0.5):
        times.append(scraper.scrape())
    results.send(times)


def measure(gateway, folder, options, has_scrapes):
    stop = multiprocessing.Event()
    reader, writer = multiprocessing.Pipe(duplex=False)
    scraper = multiprocessing.Process(target=scrape_on, args=(gateway.metrics, stop, writer))
    if has_scrapes:
        scraper.start()
    writer.close()
    report = load(gateway.port, 10, 100, options.seconds, folder, options.rate)
    times = []
    if has_scrapes:
        stop.set()
        times = reader.recv()
        scraper.join()
    return {
        "rate": report["messages_per_second"],
        "p50_us": report["answer_latency"]["p50_us"],
        "p99_us": report["answer_latency"]["p99_us"],
        "ok": report["totals"]["accepted"] == report["totals"]["answered"],
        "scrapes": times,
    }


def run(options, folder):
    vendor = Vendor()
    try:
        gateway = ManyCustomers(options.customers, vendor.port, folder, 10, 100)
        try:
            number = str(options.customers)
            more = ["--customers", number, "--system-id-pattern", "load{}", "--connect-parallel", "200"]
            load(gateway.port, options.customers, 1, 2, folder, more=more)
            load(gateway.port, 1, 10, 1, folder)
            text = wait_for_series(gateway, options.customers)
            idle, cpu_ms = scrape_idle(gateway)
            rows = {"without": [], "with": []}
            for _ in range(options.rounds):
                for name, runs in rows.items():
                    runs.append(measure(gateway, folder, options, name == "with"))
            return text, idle, cpu_ms, rows
        finally:
            gateway.stop()
    finally:
        vendor.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text, idle, cpu_ms, rows = run(options, folder)
    busy = [took for one in rows["with"] for took in one["scrapes"]]
    result = {"customers": options.customers, "rate_asked": options.rate, "octets": len(text), "lines": text.count(b"\n")}
    result["scrape_cpu_ms"] = round(cpu_ms, 2)
    for name, times in (("scrape_idle_ms", idle), ("scrape_busy_ms", busy)):
        result[name] = {"count": len(times), "median": round(statistics.median(times), 2), "worst": round(max(times), 2)}
        told = result[name]
        # Under load most of the worst is the scraper's own wait for a processor.
        is_met = told["worst" if name == "scrape_idle_ms" else "median"] < SCRAPE_MS_WANTED
        print(
            f"{name:>14}: {told['count']} scrapes, median {told['median']} ms, worst {told['worst']} ms "
            f"(below {SCRAPE_MS_WANTED} wanted: {verdict(is_met)})"
        )
    for name, runs in rows.items():
        result[name] = {key: round(statistics.median(run[key] for run in runs), 1) for key in ("rate", "p50_us", "p99_us")}
        result[name]["p99_us_worst"] = round(max(run["p99_us"] for run in runs), 1)
        result[name]["all_ok"] = all(run["ok"] for run in runs)
    ratio = round(result["with"]["p99_us"] / result["without"]["p99_us"], 3)
    is_met = ratio <= P99_RATIO_WANTED or result["with"]["p99_us"] <= result["without"]["p99_us_worst"]
    result["p99_us_ratio"] = ratio
    for name in rows:
        one = result[name]
        print(
            f"{name:>8} scrapes: {one['rate']:,.0f} msg/s, p50 {one['p50_us']:.0f} µs, p99 {one['p99_us']:.0f} µs, "
            f"of the worst run {one['p99_us_worst']:.0f} µs" + ("" if one["all_ok"] else "  (NOT ALL ANSWERED OK)")
        )
    print(f"p99 with scrapes over without: {ratio} (no visible effect wanted: {verdict(is_met)}); "
          f"{result['octets']:,} octets in {result['lines']:,} lines, {result['scrape_cpu_ms']} ms of the gateway's CPU a scrape")
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/metrics.py", options) | {"results": [result]}) + "\n")


if __name__ == "__main__":
    main()
