#!/usr/bin/env bash
# The same ten functions, seen by our profile and by `perf record` in the same run: the shares of the ten hottest functions,
# side by side. Needs Debian's linux-perf, and the right to use it.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

programs=$(cargo test --release --features profiling --no-run --test programs --message-format json |
    sed -n 's/.*"name":"programs".*"executable":"\([^"]*\)".*/\1/p')
ln -s "$programs" "$out/compare"
perf record -q -e cpu-clock -F 999 -g -o "$out/perf.data" \
    "$out/compare" "${1:-10}" > "$out/ours.folded"
perf script -i "$out/perf.data" -F comm,ip,sym 2>/dev/null > "$out/perf.script"

# By function: ours is the frame of a folded line, with what was inlined into it; perf's the first line of a stack. Only the
# workers, and only these functions, which call nothing.
sed -n '/;worker/p' "$out/ours.folded" | awk '{
    weight = $NF
    if (match($0, /hot_[a-z]+/)) { name = substr($0, RSTART, RLENGTH); self[name] += weight; total += weight }
} END { for (name in self) printf "%s %.2f\n", name, 100 * self[name] / total }' | sort > "$out/ours"
awk '/^worker|^.*worker-/ { first = 1; next }
     first && NF >= 2 { first = 0; name = $2; sub(/.*::/, "", name); sub(/\+0x.*/, "", name)
        if (name ~ /^hot_/) { self[name]++; total++ } }
     END { for (name in self) printf "%s %.2f\n", name, 100 * self[name] / total }' "$out/perf.script" | sort > "$out/perf"
printf '%-12s %8s %8s %8s\n' function ours perf points
join "$out/ours" "$out/perf" | sort -k2,2nr | head -n 10 | awk '
    { printf "%-12s %8.2f %8.2f %8.2f\n", $1, $2, $3, $2 - $3; off = $2 - $3; if (off < 0) off = -off; if (off > most) most = off }
    END { printf "at most, points: %.2f\n", most }'
