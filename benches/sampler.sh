#!/usr/bin/env bash
# The sampler's bench with dial9-perf-self-profile beside it, which needs frame pointers: everything is built with them.
# Usage: benches/sampler.sh [SECTION…]
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}/sampler-rivals
RUSTFLAGS="--cfg dial9 -C force-frame-pointers=yes" CARGO_TARGET_DIR=$target \
    cargo build --quiet --release --manifest-path benches/sampler-rivals/Cargo.toml
exec "$target/release/sampler-rivals" "$@"
