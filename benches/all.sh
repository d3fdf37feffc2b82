#!/usr/bin/env bash
# Runs all benches in a fixed order, and prints one table: claim, goal, now, met or missed. The goals are in benches/goals.txt.
# Usage: benches/all.sh [--list] [--kept] [NAME…]
#     NAME     only these, for example `wake logging`
#     --list   the names, in the order in which they run
#     --kept   runs no bench: the table of the last runs again
# What a bench prints is kept in target/bench-output/NAME.txt. A bench that cannot run here says why in the table.
set -euo pipefail
cd "$(dirname "$0")/.."
output=${CARGO_TARGET_DIR:-$PWD/target}/bench-output
goals=benches/goals.txt

# The benches of Cargo.toml in its order, except a bench that a script runs beside more rivals; then the scripts.
names() {
    awk '/^\[/ { bench = $0 == "[[bench]]" } bench && /^name/ { gsub(/"/, ""); print $3 }' Cargo.toml |
        while read -r name; do [ -e "benches/$name.sh" ] || echo "$name"; done
    for script in benches/*.sh; do
        name=$(basename "$script" .sh)
        [ "$name" = all ] || echo "$name"
    done
}

# The features that Cargo.toml wants for a bench.
features() {
    awk -v wanted="$1" '/^\[/ { bench = $0 == "[[bench]]"; name = "" } bench && /^name/ { gsub(/"/, ""); name = $3 }
        bench && name == wanted && /^required-features/ { gsub(/.*\[|\].*|"| /, ""); print }' Cargo.toml
}

run() {
    if [ -e "benches/$1.sh" ]; then "benches/$1.sh"; else cargo bench --quiet --features "$(features "$1")" --bench "$1"; fi
}

mapfile -t all < <(names)
kept=false wanted=()
for argument in "$@"; do
    case $argument in
        --list) names; exit ;;
        --kept) kept=true ;;
        -*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
        *) [[ " ${all[*]} " == *" $argument "* ]] || { echo "no bench \"$argument\"; there are: ${all[*]}" >&2; exit 64; }
           wanted+=("$argument") ;;
    esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=("${all[@]}")

mkdir -p "$output"
if ! $kept; then
    for name in "${all[@]}"; do
        [[ " ${wanted[*]} " == *" $name "* ]] || continue
        echo "$(date +%H:%M:%S) $name" >&2
        rm -f "$output/$name.failed"
        # If a bench fails later, the results until then count.
        run "$name" >"$output/$name.txt" 2>"$output/$name.err" </dev/null || tail -n 1 "$output/$name.err" >"$output/$name.failed"
    done
fi

printf '| %-17s | %-60s | %7s | %9s | %-6s |\n' bench claim goal now ''
echo '|-------------------|--------------------------------------------------------------|--------:|----------:|--------|'
for name in "${all[@]}"; do
    [[ " ${wanted[*]} " == *" $name "* ]] || continue
    printed=$output/$name.txt
    [ -e "$printed" ] || printed=/dev/null
    awk -v bench="$name" -v failed="$(cat "$output/$name.failed" 2>/dev/null || true)" -f benches/table.awk "$goals" "$printed"
done
