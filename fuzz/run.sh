#!/usr/bin/env bash
# Fuzzes the reading of log4rs files, of requests, or of answers to a push, with the stable compiler: libFuzzer's coverage needs no nightly, only its sanitizers do.
# Usage: fuzz/run.sh TARGET [SECONDS [MORE OF LIBFUZZER'S OPTIONS]]
set -euo pipefail
cd "$(dirname "$0")"
name=${1:?a target: log4rs_yaml, requests or answers}
seconds=${2:-60}
shift
shift || true
target=${CARGO_TARGET_DIR:-$PWD/target}
# What cargo-fuzz passes, but for the sanitizer. (With cargo-fuzz: `cargo fuzz run --sanitizer none TARGET`.)
flags="--cfg fuzzing -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$option"
done
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, build scripts and macros are not instrumented.
RUSTFLAGS="$flags" CARGO_TARGET_DIR=$target cargo build --quiet --release --target "$host" --bin "$name"
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
case $name in
log4rs_yaml)
    # The seeds: each log4rs file of config/ and tests/broken/.
    cp ../config/log4rs.yaml "$seeds/good"
    for file in ../tests/broken/*/log4rs.yaml; do
        folder=${file%/log4rs.yaml}
        if [ -f "$file" ]; then cp "$file" "$seeds/${folder##*/}"; fi
    done
    dictionary=yaml.dict
    longest=8192
    ;;
requests)
    # The seeds: a request for each path of the dictionary, and one with a body.
    headers='Host: localhost\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n'
    grep -o '"/[^"]*"' http.dict | tr -d '"' | while read -r path; do
        printf "GET %s?seconds=1&debug=0 HTTP/1.1\r\n$headers\r\n" "$path" > "$seeds/$(echo "$path" | tr / _)"
    done
    printf "POST /debug/pprof/symbol HTTP/1.0\r\n${headers}Content-Length: 4\r\n\r\n0x1f" > "$seeds/post"
    printf "GET / HTTP/1.1\r\nHost: [::1]:6060\r\nAuthorization: Basic eDp5\r\nCookie: selvedge-6060=x\r\n\r\n" > "$seeds/secrets"
    dictionary=http.dict
    longest=20000
    ;;
answers)
    # The seeds: an answer of each kind.
    for status in 200 204 307 400 429 500 503; do
        printf "HTTP/1.1 $status x\r\nRetry-After: 17\r\nLocation: /x\r\nContent-Length: 2\r\n\r\n{}" > "$seeds/$status"
    done
    dictionary=http.dict
    longest=8192
    ;;
*)
    echo "$name: no such target; expected log4rs_yaml, requests or answers" >&2
    exit 2
    ;;
esac
mkdir -p "corpus/$name" "artifacts/$name"
"$target/$host/release/$name" "corpus/$name" "$seeds" -max_total_time="$seconds" -max_len="$longest" -timeout=10 \
    -dict="$dictionary" -artifact_prefix="artifacts/$name/" -print_final_stats=1 "$@"
