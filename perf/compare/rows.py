#!/usr/bin/env python3
"""A large configuration in PostgreSQL: seconds until it is loaded at a start, and from a commit until the change is in force on every shard.

10,000 customers, 1,000 vendors that are all bound, 10,000 rules. A start counts from the program's beginning to its open listener (2 s
wanted). A change is one row of a customer, a vendor and a rule in turn; it counts from before psql is started until /health tells
the next version of every shard (1 s wanted), so that psql's own start of some 30 ms is in it.

    perf/compare/rows.py [--customers 10000] [--vendors 1000] [--rules 10000] [--rounds 3] [--changes 12]

One JSON line is appended to perf/results.jsonl. Needs the programs built (`cargo build --release`) and PostgreSQL. Nothing else should
run beside it.
"""

import argparse
import json
import statistics
import tempfile
import time
import urllib.request

from haproxy import ROOT, Vendor, machine_line
from journal import verdict
from outage import WithPostgres

LOADED_SECONDS_WANTED = 2
IN_FORCE_SECONDS_WANTED = 1

# The change of one row each, of a number that counts up.
CHANGES = (
    "UPDATE messaging.customer_sms_auth SET smpp_throughput = 1000 + {0} WHERE account_id = 'load1'",
    "UPDATE messaging.vendors SET window_size = 10 + {0} WHERE instance_name = 'vendor1'",
    "UPDATE messaging.routing_rules SET weight = 1 + {0} WHERE priority = 101",
)


class WithManyRows(WithPostgres):
    name = "many-rows"
    accept = "relay"
    cores = "[0, 1]"

    def __init__(self, options, *arguments):
        self.options, self.began = options, 0.0
        super().__init__(*arguments)
        # The listener opens when everything is loaded.
        self.loaded_s = time.monotonic() - self.began

    def tables(self, vendor_port, binds, window):
        text = super().tables(vendor_port, binds, window)
        options = self.options
        self.postgres.sql(
            "INSERT INTO messaging.customer_sms_auth (account_id, auth_type, smpp_system_id, smpp_password_hash, allowed_source_addresses) "
            "SELECT 'load' || n, 'SMPP', 'load' || n, (SELECT smpp_password_hash FROM messaging.customer_sms_auth LIMIT 1), '{*}' "
            f"FROM generate_series(1, {options.customers}) AS n; "
            "INSERT INTO messaging.vendors (instance_name, host, port, username, password) "
            f"SELECT 'vendor' || n, '127.0.0.1', {vendor_port}, 'gateway', 'gateway1' FROM generate_series(1, {options.vendors}) AS n; "
            "INSERT INTO messaging.routing_rules (priority, vendor_id, dest_pattern) "
            "SELECT 100 + n, (SELECT id FROM messaging.vendors WHERE instance_name = 'vendor' || 1 + n % "
            f"{options.vendors}), '^' || 20000 + n FROM generate_series(1, {options.rules}) AS n; ANALYZE"
        )
        self.began = time.monotonic()
        return text

    def version(self):
        """The oldest that is in force on a shard."""
        answer = urllib.request.urlopen(f"http://127.0.0.1:{self.control}/health", timeout=10).read()
        return min(shard["snapshot_version"] or 0 for shard in json.loads(answer)["shards"])

    def change(self, number, seconds=30):
        """Seconds from the change of one row until it is in force."""
        before, start = self.version(), time.monotonic()
        self.postgres.sql(CHANGES[number % len(CHANGES)].format(number))
        while self.version() == before:
            if time.monotonic() - start > seconds:
                raise SystemExit(f"the change was not in force after {seconds} s")
            time.sleep(0.005)
        return time.monotonic() - start


def run(options):
    vendor = Vendor()
    try:
        with tempfile.TemporaryDirectory() as folder:
            gateway = WithManyRows(options, vendor.port, folder, 10, 100)
            try:
                # What has changed before the connection that hears of changes is read once more.
                time.sleep(2)
                return gateway.loaded_s, [gateway.change(number) for number in range(1, options.changes + 1)]
            finally:
                gateway.stop()
    finally:
        vendor.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--vendors", type=int, default=1_000)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--changes", type=int, default=12)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    options.seconds = 0
    runs = [run(options) for _ in range(options.rounds)]
    loaded = [seconds for seconds, _ in runs]
    in_force = [seconds for _, changes in runs for seconds in changes]
    result = {"customers": options.customers, "vendors": options.vendors, "rules": options.rules}
    for name, times, wanted in (
        ("loaded_s", loaded, LOADED_SECONDS_WANTED),
        ("in_force_s", in_force, IN_FORCE_SECONDS_WANTED),
    ):
        told = {"median": round(statistics.median(times), 3), "worst": round(max(times), 3)}
        result[name] = told
        is_met = told["worst"] < wanted
        print(f"{name:>10}: median {told['median']} s, worst {told['worst']} s (below {wanted} wanted: {verdict(is_met)})")
    with open(ROOT / "perf" / "results.jsonl", "a") as file:
        file.write(json.dumps(machine_line("perf/compare/rows.py", options) | {"results": [result]}) + "\n")


if __name__ == "__main__":
    main()
