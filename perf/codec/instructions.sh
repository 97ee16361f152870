#!/bin/sh
# Counts the instructions that the codec's hot operations take, with callgrind, and compares them with
# instructions.json beside this script. Exits 1 when one has drifted by more than the tolerance, either way:
# what became cheaper is recorded too.
#   instructions.sh            compare
#   instructions.sh --record   rewrite instructions.json
# TOLERANCE (percent, default 5) and CARGO may be set in the environment.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
recorded="$here/instructions.json"
compiler=$(rustc --version)
tolerance=${TOLERANCE:-5}
few=1000
many=21000

command -v valgrind >/dev/null || { echo "valgrind is not installed" >&2; exit 2; }
cd "$here/../.."
program=$("${CARGO:-cargo}" build --quiet --release -p smpp-pdu --example callgrind_decode --message-format=json |
    sed -n 's/.*"name":"callgrind_decode".*"executable":"\([^"]*\)".*/\1/p')
[ -n "$program" ] || { echo "the example callgrind_decode was not built" >&2; exit 2; }

# Instructions of a whole run. Two runs of different length leave nothing of start and end in their difference.
whole_run() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

measured=$(for operation in $("$program"); do
    short=$(whole_run "$operation" $few)
    long=$(whole_run "$operation" $many)
    awk -v name="$operation" -v few=$few -v many=$many -v short="$short" -v long="$long" \
        'BEGIN { printf "%s %.1f\n", name, (long - short) / (many - few) }'
done)

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
