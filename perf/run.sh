#!/usr/bin/env bash
# Every measurement, one after the other, on a machine that does nothing else: about fifteen minutes on two cores.
# Results are printed and appended to perf/results.jsonl. NOTE in the environment is written beside them.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v redis-server >/dev/null || { echo "redis-server is not installed: apt-get install redis-server" >&2; exit 2; }
ls /usr/lib/postgresql/*/bin/initdb >/dev/null || { echo "PostgreSQL is not installed: apt-get install postgresql" >&2; exit 2; }
command -v haproxy >/dev/null || { echo "haproxy is not installed: apt-get install haproxy" >&2; exit 2; }
cargo build --release -p smpp-gateway -p smpp-bench
cargo bench -q -p smpp-pdu
perf/compare/direct.py --note "${NOTE:-}"
perf/compare/haproxy.py --note "${NOTE:-}"
perf/compare/journal.py --note "${NOTE:-}"
perf/compare/store.py --note "${NOTE:-}"
perf/compare/outage.py --note "${NOTE:-}"
perf/compare/metrics.py --note "${NOTE:-}"
perf/compare/rows.py --note "${NOTE:-}"
perf/compare/idle.py --note "${NOTE:-}"
perf/compare/rebind.py --note "${NOTE:-}"
perf/compare/replay.py --note "${NOTE:-}"
cargo run --release -q -p smpp-shards --example swap
perf/instructions/count.sh
