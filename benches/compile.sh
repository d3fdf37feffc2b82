#!/usr/bin/env bash
# What each feature costs a program that only spawns a thread: compiling from nothing, for release, and the size of the stripped program.
# Beside it the same program with std alone. Compiles the whole tree of dependencies five times.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=${CARGO_TARGET_DIR:-$PWD/target}/compile-bench
rm -rf "$work"
mkdir -p "$work/src"
cd "$work"
unset CARGO_TARGET_DIR
export CARGO_INCREMENTAL=0

# program DEPENDENCIES SOURCE
program() {
    printf '[package]\nname = "only-spawns"\nversion = "0.0.0"\nedition = "2024"\n[profile.release]\nstrip = true\n[workspace]\n[dependencies]\n%s\n' "$1" >Cargo.toml
    printf '%s\n' "$2" >src/main.rs
    # As this repository builds, where that is possible.
    cp "$root/Cargo.lock" .
}

# row NAME: compiles the program, and prints its row.
row() {
    rm -rf target
    cargo fetch --quiet
    local crates
    crates=$(cargo tree --prefix none --edges normal,build --no-dedupe | awk '$1 != "only-spawns" { print $1, $2 }' | sort -u | wc -l)
    local TIMEFORMAT='%R %U %S' times
    times=$({ time cargo build --quiet --release --offline 2>build.log; } 2>&1) || { cat build.log >&2; exit 1; }
    target/release/only-spawns >/dev/null
    awk -v name="$1" -v times="$times" -v bytes="$(stat -c %s target/release/only-spawns)" -v crates="$crates" 'BEGIN {
        split(times, t, " "); printf "| %-28s | %6.1f | %6.1f | %6d | %8.2f |\n", name, t[1], t[2] + t[3], crates, bytes / 1048576 }'
}

echo "compiling a program that only spawns, from nothing, for release, with $(nproc) processors; its size, stripped"
echo
echo "| features                     | wall s |  CPU s | crates | size MiB |"
echo "|------------------------------|-------:|-------:|-------:|---------:|"
program '' 'fn main() { std::thread::spawn(|| println!("spawned")).join().unwrap() }'
row "std alone"
spawns='fn main() { selvedge::spawn("worker", |_| println!("spawned")).join().unwrap() }'
features() {
    program "selvedge = { path = \"$root\", $2 }" "$spawns"
    row "$1"
}
features "none" 'default-features = false'
features "default" 'features = []'
features "default, profiling" 'features = ["profiling"]'
features "default, inspect" 'features = ["inspect"]'
features "default, profiling, inspect, push" 'features = ["profiling", "inspect", "push"]'
features "profiling without the log" 'default-features = false, features = ["profiling"]'
rm -rf "$work"
