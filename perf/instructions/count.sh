#!/bin/sh
# Counts the instructions that the hot operations of the codec and of a shard take, with callgrind, and compares
# them with recorded.json beside this script. Exits 1 when one has drifted by more than the tolerance, either way:
# what became cheaper is recorded too.
#   count.sh            compare
#   count.sh --record   rewrite recorded.json
# TOLERANCE (percent, default 5) and CARGO may be set in the environment.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
recorded="$here/recorded.json"
compiler=$(rustc --version)
tolerance=${TOLERANCE:-5}
few=1000
many=21000

command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 2; }
cd "$here/../.."

# The program of an example, built.
program_of() {
    "${CARGO:-cargo}" build --quiet --release -p "$1" --example "$2" --message-format=json |
        sed -n 's/.*"name":"'"$2"'".*"executable":"\([^"]*\)".*/\1/p'
}

# Instructions of a whole run. Two runs of different length leave nothing of start and end in their difference.
whole_run() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$1" "$2" "$3" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

count() {
    program=$(program_of "$1" "$2")
    [ -n "$program" ] || { echo "the example $2 was not built" >&2; exit 2; }
    for operation in $("$program"); do
        short=$(whole_run "$program" "$operation" $few)
        long=$(whole_run "$program" "$operation" $many)
        awk -v name="$operation" -v few=$few -v many=$many -v short="$short" -v long="$long" \
            'BEGIN { printf "%s %.1f\n", name, (long - short) / (many - few) }'
    done
}

measured=$(count smpp-pdu callgrind_decode; count smpp-shards callgrind_step)

if [ "${1:-}" = --record ]; then
    echo "$measured" | awk -v compiler="$compiler" 'BEGIN { printf "{\n  \"compiler\": \"%s\"", compiler }
        { printf ",\n  \"%s\": %s", $1, $2 }
        END { printf "\n}\n" }' >"$recorded"
    cat "$recorded"
    exit 0
fi

[ -f "$recorded" ] || { echo "nothing is recorded yet: run with --record" >&2; exit 2; }
grep -qF "\"$compiler\"" "$recorded" || echo "recorded with another compiler than $compiler: expect drift" >&2
echo "$measured" | while read -r name count; do
    before=$(sed -n "s/.*\"$name\": \([0-9.]*\).*/\1/p" "$recorded")
    echo "$name $count ${before:-0}"
done | awk -v tolerance="$tolerance" '
    $3 == 0 { printf "%-24s %8.1f   not recorded\n", $1, $2; drifted = 1; next }
    {
        drift = ($2 - $3) / $3 * 100
        bad = drift > tolerance || drift < -tolerance
        drifted = drifted || bad
        printf "%-24s %8.1f   recorded %8.1f   %+6.1f %%%s\n", $1, $2, $3, drift, bad ? "   DRIFT" : ""
    }
    END { exit drifted }'
