#!/usr/bin/env bash
# What a log call costs its caller, and how many records a second reach the file: selvedge beside its rivals, in one run.
# Usage: benches/logging.sh [ROUNDS [RECORDS [BUSY]]]. BUSY: how many threads compute beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}/log-rivals
CARGO_TARGET_DIR=$target cargo build --quiet --release --manifest-path benches/log-rivals/Cargo.toml
exec "$target/release/log-rivals" "$@"
