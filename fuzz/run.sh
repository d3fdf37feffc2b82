#!/usr/bin/env bash
# Fuzzes the reading of log4rs files, with the stable compiler: libFuzzer's coverage needs no nightly, only its sanitizers do.
# Usage: fuzz/run.sh [SECONDS [MORE OF LIBFUZZER'S OPTIONS]]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
shift || true
target=${CARGO_TARGET_DIR:-$PWD/target}
# What cargo-fuzz passes, but for the sanitizer. (With cargo-fuzz: `cargo fuzz run --sanitizer none log4rs_yaml`.)
flags="--cfg fuzzing -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$option"
done
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, build scripts and macros are not instrumented.
RUSTFLAGS="$flags" CARGO_TARGET_DIR=$target cargo build --quiet --release --target "$host"
# The seeds: each log4rs file of config/ and tests/broken/.
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
cp ../config/log4rs.yaml "$seeds/good"
for file in ../tests/broken/*/log4rs.yaml; do
    folder=${file%/log4rs.yaml}
    if [ -f "$file" ]; then cp "$file" "$seeds/${folder##*/}"; fi
done
mkdir -p corpus/log4rs_yaml artifacts/log4rs_yaml
"$target/$host/release/log4rs_yaml" corpus/log4rs_yaml "$seeds" -max_total_time="$seconds" -max_len=8192 -timeout=10 \
    -dict=yaml.dict -artifact_prefix=artifacts/log4rs_yaml/ -print_final_stats=1 "$@"
