#!/usr/bin/env python3
"""A rebind storm: a thousand sessions are cut at once and bind again at once, with the passwords known and without.

Cold is the first time: every customer's bcrypt hash is computed, on a bounded pool of threads; warm is the storm after a cut, when
they have been right before. Told for both: from the first connect until the last bind is answered, what the answers were, and how
long the control port took to answer /health meanwhile. One JSON line is appended to perf/results.jsonl.

    perf/compare/rebind.py [--sessions 1000] [--customers 100] [--rounds 3] [--seconds 120] [--profile release] [--no-record]
"""

import argparse
import http.client
import json
import multiprocessing
import pathlib
import selectors
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

from haproxy import ROOT, TARGET, Process, free_port, machine_line

PASSWORD = "secret12"
STATUSES = {0x00: "ESME_ROK", 0x05: "ESME_RALYBND", 0x08: "ESME_RSYSERR", 0x0D: "ESME_RBINDFAIL", 0x0E: "ESME_RINVPASWD"}


class Gateway(Process):
    """One shard, no vendor, and customers that all have one hash; each is checked on its own all the same."""

    def __init__(self, program, folder, customers, bind_timeout_ms):
        self.port, self.control = free_port(), free_port()
        made = subprocess.run([program, "hash-password"], input=PASSWORD + "\n", capture_output=True, text=True, check=True)
        rows = "".join(
            f'[[customers]]\nsmpp_system_id = "load{number}"\nsmpp_password_hash = "{made.stdout.strip()}"\n'
            for number in range(customers)
        )
        path = pathlib.Path(folder) / "gateway.toml"
        path.write_text(
            f'[gateway]\nnode_id = "perf"\naccept = "relay"\ndata_dir = "{folder}"\n[shards]\ncores = [0]\npin = false\n'
            f'[smpp]\nlisten = "127.0.0.1:{self.port}"\nbind_timeout_ms = {bind_timeout_ms}\n'
            f'[control]\nlisten = "127.0.0.1:{self.control}"\nmetrics_listen = "127.0.0.1:{free_port()}"\n{rows}'
        )
        super().__init__([program, "run", "--config", path])
        end = time.monotonic() + 60
        while not self.accepts():
            if time.monotonic() > end or self.child.poll() is not None:
                self.stop()
                sys.exit("the gateway did not come up")
            time.sleep(0.1)

    def accepts(self):
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{self.control}/health", timeout=5).read()
            return json.loads(answer)["phase"] == "accepting"
        except OSError:
            return False


def bind_pdu(number):
    body = f"load{number}\0{PASSWORD}\0\0".encode() + bytes([0x34, 0, 0, 0])
    return struct.pack(">IIII", 16 + len(body), 0x09, 0, 1) + body


def bind_all(port, sessions, customers, patience):
    """Connects and binds all of them at once; the sockets, each one's seconds to its answer, and how many of which answer."""
    selector, start = selectors.DefaultSelector(), time.monotonic()
    sockets, answered, statuses = [], [], {}
    for number in range(sessions):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        selector.register(connection, selectors.EVENT_WRITE, number)
        sockets.append(connection)
    end = start + patience
    while len(answered) < sessions and time.monotonic() < end:
        for key, events in selector.select(1):
            connection = key.fileobj
            if events & selectors.EVENT_WRITE:
                connection.send(bind_pdu(key.data % customers))
                selector.modify(connection, selectors.EVENT_READ, key.data)
                continue
            try:
                answer = connection.recv(256)
            except OSError:
                answer = b""
            selector.unregister(connection)
            status = struct.unpack(">I", answer[8:12])[0] if len(answer) >= 16 else None
            name = "connection closed" if status is None else STATUSES.get(status, hex(status))
            statuses[name] = statuses.get(name, 0) + 1
            answered.append(time.monotonic() - start)
    if len(answered) < sessions:
        statuses["no answer"] = sessions - len(answered)
    selector.close()
    return sockets, answered, statuses


def cut(sockets):
    """As a network would: no unbind, and a reset."""
    for connection in sockets:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def ask_health(port, stop, results):
    """Asks again and again, a few milliseconds apart, in a process of its own; milliseconds of each answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection, times = http.client.HTTPConnection("127.0.0.1", port, timeout=30), []
    while not stop.is_set():
        start = time.monotonic()
        connection.request("GET", "/health")
        connection.getresponse().read()
        times.append((time.monotonic() - start) * 1000)
        time.sleep(0.002)
    results.send(times)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def storm(gateway, options):
    """One storm, with /health asked meanwhile; the sockets, and the figures."""
    stop = multiprocessing.Event()
    reader, writer = multiprocessing.Pipe(duplex=False)
    prober = multiprocessing.Process(target=ask_health, args=(gateway.control, stop, writer))
    prober.start()
    # From here on only the prober holds it, so that its end is seen.
    writer.close()
    time.sleep(0.3)
    sockets, answered, statuses = bind_all(gateway.port, options.sessions, options.customers, options.seconds)
    stop.set()
    health = reader.recv()
    prober.join()
    return sockets, {
        "seconds_until_all": round(max(answered), 3) if answered else None,
        "p50_seconds": round(percentile(answered, 0.5), 3),
        "answers": statuses,
        "health_asked": len(health),
        "health_p50_ms": round(percentile(health, 0.5), 2),
        "health_p99_ms": round(percentile(health, 0.99), 2),
        "health_max_ms": round(max(health), 2),
    }


def show(name, figures):
    print(
        f"{name:>6}: all answered after {figures['seconds_until_all']} s, half after {figures['p50_seconds']} s, {figures['answers']}; "
        f"/health p50 {figures['health_p50_ms']} ms, p99 {figures['health_p99_ms']} ms, at the most {figures['health_max_ms']} ms",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=1_000)
    parser.add_argument("--customers", type=int, default=100, help="so many hashes to be checked when cold")
    parser.add_argument("--rounds", type=int, default=3, help="cuts")
    parser.add_argument("--bind-timeout-ms", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=120, help="for the last answer")
    parser.add_argument("--profile", default="release", help="whose programs: release, or debug")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    program = TARGET.parent / options.profile / "smpp-gateway"
    if not program.exists():
        sys.exit(f"{program} is not built")
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(program, folder, options.customers, options.bind_timeout_ms)
        try:
            sockets, cold = storm(gateway, options)
            show("cold", cold)
            warm = []
            for _ in range(options.rounds):
                cut(sockets)
                sockets, figures = storm(gateway, options)
                show("warm", figures)
                warm.append(figures)
            cut(sockets)
        finally:
            gateway.stop()
    slowest = max(warm, key=lambda figures: figures["seconds_until_all"] or options.seconds, default=None)
    middle = statistics.median(figures["seconds_until_all"] for figures in warm) if warm else None
    result = {
        "sessions": options.sessions, "customers": options.customers, "profile": options.profile, "cold": cold,
        "warm_slowest": slowest, "warm_median_seconds": middle,
    }  # fmt: skip
    if not options.no_record:
        with open(ROOT / "perf" / "results.jsonl", "a") as file:
            file.write(json.dumps(machine_line("perf/compare/rebind.py", options) | {"results": [result]}) + "\n")


if __name__ == "__main__":
    main()
