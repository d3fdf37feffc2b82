#!/usr/bin/env bash
# The tiny HTTP server of docs/recipes/threaded-server.md beside tiny_http's own thread pool, in one run: requests a second, CPU for
# each request, and how long each takes to end on SIGTERM under load. Needs wrk.
# Usage: benches/http_server.sh [SECONDS [CONNECTIONS]]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60} connections=${2:-64}
command -v wrk >/dev/null || { echo "missing: wrk (apt install wrk)" >&2; exit 1; }
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --quiet --release --example 04_http_server
CARGO_TARGET_DIR=$target/http-rivals cargo build --quiet --release --manifest-path benches/http-rivals/Cargo.toml

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
now() { date +%s%N; }
load() { wrk -t2 -c"$connections" -d"$1s" "http://$address/"; }

# NAME COMMAND...: one server, from its start to its end.
measure() {
    local name=$1 output before requests micros began
    shift
    "$@" >/dev/null 2>&1 &
    local server=$!
    local looks=0
    until curl -sf "http://$address/" >/dev/null; do
        [ $((looks += 1)) -le 200 ] || { echo "$name does not answer after 10 s" >&2; exit 1; }
        sleep 0.05
    done
    before=$(ticks $server)
    output=$(load "$seconds")
    requests=$(awk '/requests in/ { print $1 }' <<<"$output")
    micros=$(( ($(ticks $server) - before) * 1000000 / $(getconf CLK_TCK) ))
    printf '%-12s %10s requests/s  %6.1f µs CPU a request  %s\n' "$name" "$(awk '/Requests.sec/ { print $2 }' <<<"$output")" \
        "$(awk "BEGIN { print $micros / $requests }")" "$(grep -i 'socket errors' <<<"$output" || echo 'no errors')"
    cpu+=("$(awk "BEGIN { print $micros / $requests }")")
    for _ in 1 2 3 4 5; do
        load 3 >/tmp/http_server_wrk.$$ &
        local loader=$!
        sleep 1
        began=$(now)
        kill -TERM $server
        wait $server 2>/dev/null || true
        printf '%-12s SIGTERM under load: ended after %d ms' "$name" $(( ($(now) - began) / 1000000 ))
        wait $loader || true
        # Once the server has ended, each further connect is a write error; a read error is a request that was cut.
        printf '; %s\n' "$(grep -i 'socket errors' /tmp/http_server_wrk.$$ || echo 'no errors')"
        "$@" >/dev/null 2>&1 &
        server=$!
        local looks=0
    until curl -sf "http://$address/" >/dev/null; do
        [ $((looks += 1)) -le 200 ] || { echo "$name does not answer after 10 s" >&2; exit 1; }
        sleep 0.05
    done
    done
    kill -KILL $server
    wait $server 2>/dev/null || true
    rm -f /tmp/http_server_wrk.$$
}

cpu=()
uptime
address=127.0.0.1:8080 measure selvedge "$target/release/examples/04_http_server" 127.0.0.1:8080
address=127.0.0.1:8081 measure tiny_http "$target/http-rivals/release/http-rivals" 127.0.0.1:8081 8
printf "CPU a request, of tiny_http's: %.2f\n" "$(awk "BEGIN { print ${cpu[0]} / ${cpu[1]} }")"
uptime
