#!/usr/bin/env python3
"""The gateway with its journal and the same build as a relay, between the same load and the same vendor, in turn, in one run.

Three questions, each with what is wanted:

    full      throughput with a vendor that answers at once, journal over relay: 0.6 at 10 x 100, 0.8 at 10 x 1000; octets
              written for a message at most 1.5 times (its PDU + 96); 100 messages for a commit
    receipts  the same journal with a receipt for each message over without: 0.4; octets as above, plus the receipt's PDU
    steady    20,000 messages/s and a vendor that answers after 100 ms: p99 from submit_sm to submit_sm_resp below 5 ms where
              an fdatasync takes less than 1 ms, which is measured as well; octets as in the first

Runs alternate; the medians and the median of the pairs' ratios are printed, and one JSON line for the whole run is appended to
perf/results.jsonl.

    perf/compare/journal.py [--rounds 5] [--seconds 4] [--only full|receipts|steady] [--data-dir DIR]

The journal's files go to a temporary folder below DIR, by default below the repository's target folder: it must be on a
real disk. Needs the programs built (`cargo build --release`). Nothing else should run beside it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

from haproxy import Gateway, ROOT, TARGET, Vendor, cpu_seconds, load, machine_line, resident_mb

# What is asked of throughput, journal over relay, by sessions x window.
RATIOS_WANTED = {"10x100": 0.6, "10x1000": 0.8}
RECEIPTS_RATIO_WANTED = 0.4
PER_COMMIT_WANTED = 100
P99_MS_WANTED = 5.0
FDATASYNC_MS_MAX = 1.0

# From one look at the metrics to the next: shards report once a second.
LOOK_SECONDS = 1.2

BIND_TRANSCEIVER, BIND_TRANSCEIVER_RESP = 0x00000009, 0x80000009
SUBMIT_SM, DELIVER_SM, DELIVER_SM_RESP = 0x00000004, 0x00000005, 0x80000005


class Relay(Gateway):
    name = "relay"


class Journal(Gateway):
    name = "journal"
    accept = "journal"


def metrics_of(gateway):
    """The sums of all metrics over their labels, and of answered submits those that succeeded."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics}/metrics", timeout=5).read().decode()
    sums = {}
    for line in text.splitlines():
        found = re.match(r"(\w+)(\{.*\})? ([0-9.eE+-]+)$", line)
        if found and 'status="failure"' not in line:
            sums[found.group(1)] = sums.get(found.group(1), 0.0) + float(found.group(3))
    return sums


def settled_metrics(gateway, seconds=30):
    """The metrics once the journal writes nothing more."""
    end = time.monotonic() + seconds
    before = metrics_of(gateway)
    while time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
        now = metrics_of(gateway)
        name = "smpp_gateway_journal_records_total"
        if now.get(name) == before.get(name):
            return now
        before = now
    sys.exit(f"the journal was still being written to {seconds} s after the load")


def measure(kind, folder_above, shape, seconds, rate=None, receipts=False, vendor_options=(), vendor_window=None):
    """One run: throughput, times, CPU, and with the journal what was written for a message."""
    sessions, window = shape
    vendor = Vendor("--deliver-window", "1000", *vendor_options)
    try:
        with tempfile.TemporaryDirectory(dir=folder_above) as folder:
            gateway = kind(vendor.port, folder, sessions, vendor_window or window)
            try:
                before = cpu_seconds(gateway.child.pid)
                more = ["--receipts", "--receipt-wait", "60"] if receipts else []
                report = load(gateway.port, sessions, window, seconds, folder, rate, more)
                cpu = cpu_seconds(gateway.child.pid) - before
                # What a message is worth that waits for its receipt is told by the receipts.
                done = min(report["answered"], report["receipts"]) if receipts else report["answered"]
                row = {
                    "rate": done / report["seconds"],
                    "cpu_us": cpu * 1e6 / max(1, report["totals"]["answered"]),
                    "p50_us": report["answer_latency"]["p50_us"],
                    "p99_us": report["answer_latency"]["p99_us"],
                    "rss_mb": resident_mb(gateway.child.pid),
                    "ok": report["totals"]["accepted"] == report["totals"]["answered"],
                }
                if kind.accept == "journal":
                    row |= written(settled_metrics(gateway))
                return row
            finally:
                gateway.stop()
    finally:
        vendor.stop()


def written(metrics):
    """What the journal's counters come to for a message."""
    messages = max(1.0, metrics["smpp_gateway_submit_sm_answered_total"])
    commits = max(1.0, metrics["smpp_gateway_journal_commits_total"])
    return {
        "bytes_per_message": metrics["smpp_gateway_journal_written_bytes_total"] / messages,
        "records_per_message": metrics["smpp_gateway_journal_records_total"] / messages,
        "messages_per_commit": messages / commits,
        "failures": metrics["smpp_gateway_journal_failures_total"],
        "kept_at_end": metrics["smpp_gateway_messages_kept"],
    }


def medians(runs):
    result = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0] if key != "ok"}
    return result | {"all_ok": all(run["ok"] for run in runs)}


def ratio(ones, others, key="rate"):
    return round(statistics.median(one[key] / other[key] for one, other in zip(ones, others) if other[key]), 3)


def verdict(is_met):
    return "met" if is_met else "NOT MET"


def octets_of_pdus(folder_above):
    """Octets of the load's submit_sm, and of the receipt for it as the customer gets it."""
    vendor = Vendor()
    try:
        with tempfile.TemporaryDirectory(dir=folder_above) as folder:
            gateway = Journal(vendor.port, folder, 1, 1)
            try:
                with socket.create_connection(("127.0.0.1", gateway.port), 10) as connection:
                    return exchange(connection)
            finally:
                gateway.stop()
    finally:
        vendor.stop()


def exchange(connection):
    """Binds, submits a message like the load's own, and takes the receipt."""
    connection.settimeout(20)
    stream = connection.makefile("rb")

    def send(command, sequence, body):
        pdu = struct.pack(">IIII", 16 + len(body), command, 0, sequence) + body
        connection.sendall(pdu)
        return len(pdu)

    def receive():
        header = struct.unpack(">IIII", stream.read(16))
        stream.read(header[0] - 16)
        return header

    send(BIND_TRANSCEIVER, 1, b"load\0secret\0\0\x34\0\0\0")
    bound = receive()
    if bound[1:3] != (BIND_TRANSCEIVER_RESP, 0):
        sys.exit(f"the bind was answered {bound}")
    text = b"The quick brown fox jumps over the lazy dog 0123456789. The "
    addresses = b"\0\x01\x0112025550100\0\x01\x0115550000000\0"
    submit = send(SUBMIT_SM, 2, addresses + bytes([0, 0, 0, 0, 0, 1, 0, 0, 0, len(text)]) + text)
    while (delivery := receive())[1] != DELIVER_SM:
        if delivery[2] != 0:
            sys.exit(f"the message was answered {delivery}")
    send(DELIVER_SM_RESP, delivery[3], b"\0")
    return submit, delivery[0]


def fdatasync_ms(folder_above, count=200):
    """Milliseconds of a write of 64 KiB and an fdatasync in that folder: the median and p99."""
    times = []
    with tempfile.TemporaryFile(dir=folder_above) as file:
        file.write(bytes(count * 65536))
        os.fsync(file.fileno())
        for index in range(count):
            start = time.perf_counter()
            os.pwrite(file.fileno(), b"\xa5" * 65536, index * 65536)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1000)
    times.sort()
    return {"median": round(statistics.median(times), 3), "p99": round(times[count * 99 // 100], 3)}


def compare_full(options, folder, pdus):
    """Journal and relay in turn, the vendor answering at once."""
    for sessions, window in options.shapes:
        rows = {Relay: [], Journal: []}
        for _ in range(options.rounds):
            for kind in rows:
                rows[kind].append(measure(kind, folder, (sessions, window), options.seconds))
        shape = f"{sessions}x{window}"
        result = {"question": "full", "shape": shape} | {kind.name: medians(runs) for kind, runs in rows.items()}
        result["rate_ratio"] = ratio(rows[Journal], rows[Relay])
        result["cpu_us_ratio"] = ratio(rows[Journal], rows[Relay], "cpu_us")
        result["bytes_per_message_wanted"] = 1.5 * (pdus[0] + 96)
        wanted = RATIOS_WANTED.get(shape)
        print(f"{shape:>9}: journal over relay {result['rate_ratio']} of the messages/s" + asked(result["rate_ratio"], wanted))
        show(result["relay"], "relay")
        show(result["journal"], "journal")
        show_written(result["journal"], result["bytes_per_message_wanted"], PER_COMMIT_WANTED)
        yield result


def compare_receipts(options, folder, pdus):
    """The journal with a receipt for each message, and without, in turn."""
    rows = {"without": [], "with": []}
    for _ in range(options.rounds):
        for name in rows:
            rows[name].append(measure(Journal, folder, (10, 100), options.seconds, receipts=name == "with"))
    result = {"question": "receipts", "shape": "10x100"} | {name: medians(runs) for name, runs in rows.items()}
    result["rate_ratio"] = ratio(rows["with"], rows["without"])
    result["bytes_per_message_wanted"] = 1.5 * (pdus[0] + 96 + pdus[1])
    print(f"   10x100: with receipts {result['rate_ratio']} of without" + asked(result["rate_ratio"], RECEIPTS_RATIO_WANTED))
    show(result["without"], "without")
    show(result["with"], "with")
    show_written(result["with"], result["bytes_per_message_wanted"], None)
    yield result


def measure_steady(options, folder, pdus):
    """20,000 messages a second and a vendor that takes 100 ms for each."""
    disk = fdatasync_ms(folder)
    delay = ["--answer-delay-ms", "100"]
    # 2,000 messages are at the vendor at any time: windows that leave room for as many again and more.
    runs = [
        measure(Journal, folder, (10, 100), options.seconds, 20_000, vendor_options=delay, vendor_window=1000)
        for _ in range(options.rounds)
    ]
    result = {"question": "steady", "shape": "10x100", "rate_asked": 20_000, "journal": medians(runs)}
    result |= {"fdatasync_ms": disk, "bytes_per_message_wanted": 1.5 * (pdus[0] + 96)}
    p99_ms = result["journal"]["p99_us"] / 1000
    told = f"wanted below {P99_MS_WANTED:.0f}: {verdict(p99_ms < P99_MS_WANTED)}"
    if disk["median"] >= FDATASYNC_MS_MAX:
        told = "nothing is wanted on so slow a disk"
    print(
        f"   steady: p99 of submit to answer {p99_ms:.2f} ms at 20,000/s, vendor after 100 ms ({told}); "
        f"write of 64 KiB and fdatasync {disk['median']} ms, p99 {disk['p99']} ms"
    )
    show(result["journal"], "journal")
    show_written(result["journal"], result["bytes_per_message_wanted"], None)
    yield result


def asked(value, wanted):
    return "" if wanted is None else f" (wanted {wanted}: {verdict(value >= wanted)})"


def show(row, name):
    print(
        f"{'':>11}{name}: {row['rate']:,.0f} msg/s, {row['cpu_us']:.2f} µs CPU a message, p50 {row['p50_us'] / 1000:.2f} ms, "
        f"p99 {row['p99_us'] / 1000:.2f} ms, {row['rss_mb']:.0f} MB" + ("" if row["all_ok"] else "  (NOT ALL ANSWERED OK)")
    )


def show_written(row, bytes_wanted, per_commit_wanted):
    octets, per_commit = row["bytes_per_message"], row["messages_per_commit"]
    most = f" (at most {bytes_wanted:.0f} wanted: {verdict(octets <= bytes_wanted)})"
    print(
        f"{'':>11}written: {octets:.0f} octets a message{most}, {row['records_per_message']:.2f} records a message, "
        f"{per_commit:.0f} messages a commit{asked(per_commit, per_commit_wanted)}"
        + (f", {row['failures']:.0f} FAILED BATCHES" if row["failures"] else ""),
        flush=True,
    )


@contextlib.contextmanager
def folder_on_disk(data_dir):
    """A temporary folder there; refuses what is memory."""
    above = pathlib.Path(data_dir) if data_dir else TARGET.parent
    above.mkdir(parents=True, exist_ok=True)
    kind = subprocess.run(["stat", "-f", "-c", "%T", above], capture_output=True, text=True).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        sys.exit(f"{above} is {kind}, which is no disk: name another folder with --data-dir")
    with tempfile.TemporaryDirectory(prefix="perf-journal-", dir=above) as folder:
        yield folder, kind


def shape(text):
    sessions, window = text.split("x")
    return int(sessions), int(window)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--shapes", type=lambda text: [shape(part) for part in text.split(",")], default="10x100,10x1000")
    parser.add_argument("--only", choices=["full", "receipts", "steady"])
    parser.add_argument("--data-dir")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    questions = {"full": compare_full, "receipts": compare_receipts, "steady": measure_steady}
    with folder_on_disk(options.data_dir) as (folder, file_system):
        pdus = octets_of_pdus(folder)
        print(f"a submit_sm of {pdus[0]} octets, a receipt of {pdus[1]}; the journal on {file_system}", flush=True)
        results = []
        for name, question in questions.items():
            if options.only in (None, name):
                results += question(options, folder, pdus)
    line = machine_line("perf/compare/journal.py", options)
    line |= {"file_system": file_system, "submit_octets": pdus[0], "receipt_octets": pdus[1], "results": results}
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
