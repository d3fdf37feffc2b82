#!/usr/bin/env bash
# What taking the writing off the working threads does for a program: one that counts the words of many files and logs a
# record for each, to a file and to a pretend remote sink, each record written by who logs it, and queued. Whole processes.
# Usage: benches/log_indexer.sh [ROUNDS [FILES [LEAST BYTES OF A FILE]]]
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}/log-rivals
CARGO_TARGET_DIR=$target cargo build --quiet --release --manifest-path benches/log-rivals/Cargo.toml --bin log_indexer
exec "$target/release/log_indexer" drive "$@"
