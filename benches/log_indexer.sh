#!/usr/bin/env bash
# Measures a program that counts the words of many files and logs a record for each, to a file and to a pretend remote
# sink: each record written by the logging thread, and each record queued to a writer. Whole processes.
# Usage: benches/log_indexer.sh [ROUNDS [FILES [LEAST BYTES OF A FILE]]]
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}/log-rivals
CARGO_TARGET_DIR=$target cargo build --quiet --release --manifest-path benches/log-rivals/Cargo.toml --bin log_indexer
exec "$target/release/log_indexer" drive "$@"
