#!/usr/bin/env python3
"""A start with so many live messages in the journal: how long until the gateway accepts, and the memory that takes.

The folder is written by the journal's own writer (`cargo run --release -p smpp-shards --example replay -- --folder`): messages
that a vendor has and whose receipts are awaited, with PDUs of 170 octets. Then the program is started on it, and its control
port is asked how far it is. What is printed is appended to perf/results.jsonl as one JSON line. The journal lies below the
target folder, or --data-dir: a real disk. Needs the program built (`cargo build --release -p smpp-gateway`), three times the
octets of the journal as room, and nothing else beside it.

    perf/compare/replay.py [--entries 1000000] [--shards 1] [--data-dir DIR]
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from haproxy import Process, ROOT, TARGET, free_port, machine_line

CUSTOMERS = ["acme", "example", "a-longer-name"]

# Longer than any start that is worth waiting for.
PATIENCE_SECONDS = 1800


class Started(Process):
    def __init__(self, folder, shards, entries):
        self.control = free_port()
        customers = "".join(
            f'[[customers]]\nsmpp_system_id = "{name}"\nsmpp_password = "secret"\nallowed_source_addresses = ["*"]\n'
            for name in CUSTOMERS
        )
        path = pathlib.Path(folder) / "gateway.toml"
        path.write_text(
            f'[gateway]\nnode_id = "perf"\ndata_dir = "{folder}"\nreceipts_awaited = {min(1 << 24, max(1 << 20, entries))}\n'
            f"[shards]\ncores = {list(range(shards))}\npin = false\n"
            f'[smpp]\nlisten = "127.0.0.1:{free_port()}"\n'
            f'[control]\nlisten = "127.0.0.1:{self.control}"\nmetrics_listen = "127.0.0.1:{free_port()}"\n'
            f"{customers}"
            f'[[vendors]]\ninstance_name = "north"\nhost = "127.0.0.1"\nport = {free_port()}\n'
            'username = "gateway"\npassword = "gateway1"\n[[routing_rules]]\nvendor = "north"\n'
        )
        self.began = time.monotonic()
        super().__init__([TARGET / "smpp-gateway", "run", "--config", path])

    def health(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.control}/health", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def memory_mb(self, key):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return round(int(re.search(rf"{key}:\s+(\d+)", status).group(1)) / 1024, 1)

    def wait_until_accepting(self):
        """Seconds until the control port answers, until all is read, and until the gateway accepts."""
        answers = read = None
        while time.monotonic() - self.began < PATIENCE_SECONDS:
            if self.child.poll() is not None:
                sys.exit(f"the gateway ended with {self.child.returncode}")
            health, now = self.health(), time.monotonic() - self.began
            if health is None:
                time.sleep(0.01)
                continue
            answers = answers or now
            recovery = health.get("recovery")
            if read is None and (recovery is None or recovery["segments_read"] == recovery["segments"]):
                read = now
            if health["phase"] == "accepting":
                return {"control_s": round(answers, 3), "read_s": round(read, 3), "accepting_s": round(now, 3)}
            time.sleep(0.05)
        sys.exit(f"the gateway did not accept within {PATIENCE_SECONDS} s")


def journal_bytes(folder):
    return sum(path.stat().st_size for path in (folder / "journal").rglob("*.seg"))


def kept(gateway):
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.control}/api/v1/stats", timeout=5) as answer:
        return sum(shard["messages_kept"] for shard in json.load(answer)["shards"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--data-dir", type=pathlib.Path, default=TARGET.parent)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    options.rounds, options.seconds = 1, 0
    writer = ["cargo", "run", "--release", "-q", "-p", "smpp-shards", "--example", "replay", "--"]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="replay-", dir=options.data_dir))
    try:
        subprocess.run([*writer, "--entries", str(options.entries), "--folder", folder], cwd=ROOT, check=True)
        result = {"entries": options.entries, "shards": options.shards, "journal_mb": journal_bytes(folder) >> 20}
        gateway = Started(folder, options.shards, options.entries)
        try:
            result |= gateway.wait_until_accepting()
            result |= {"rss_peak_mb": gateway.memory_mb("VmHWM"), "rss_mb": gateway.memory_mb("VmRSS")}
            if (count := kept(gateway)) != options.entries:
                sys.exit(f"{count} messages are kept of {options.entries}")
        finally:
            gateway.stop()
    finally:
        shutil.rmtree(folder)
    result["octets_an_entry"] = round(result["rss_peak_mb"] * (1 << 20) / options.entries)
    print(
        f"{options.entries:,} live messages, {result['journal_mb']} MiB: the control port answers after {result['control_s']} s, "
        f"all is read after {result['read_s']} s, the gateway accepts after {result['accepting_s']} s; "
        f"{result['rss_peak_mb']} MB resident at the most ({result['octets_an_entry']} octets an entry), "
        f"{result['rss_mb']} MB then"
    )
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/replay.py", options) | {"results": [result]}) + "\n")


if __name__ == "__main__":
    main()
