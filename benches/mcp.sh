#!/usr/bin/env bash
# Load on POST /api/v1/mcp/tools/{id}/execute with an echo tool over Streamable HTTP (each call recorded before and after), beside the
# Python SDK's client calling the same server directly and recording nothing, in one run on one machine.
# Needs wrk, curl, jq, PostgreSQL's programs and LLMRING_TEST_PYTHON (a Python with tests/python/requirements.txt).
#   benches/mcp.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
port=18084
pg_port=15437
. benches/services.sh
trap 'kill "$echo_pid"; cleanup' EXIT

start_echo() {
  if [ -z "${LLMRING_SERVER:-}" ]; then cargo build --release -p llmring-server --example mcp_echo; fi
  "$(dirname "$server")/examples/mcp_echo" >"$work/echo.url" &
  echo_pid=$!
  until [ -s "$work/echo.url" ]; do :; done
  echo_url=$(cat "$work/echo.url")
}

post() {
  curl -sf -X POST -H 'X-API-Key: bench' -H 'Content-Type: application/json' "$@"
}

register() {
  local root=http://127.0.0.1:$port/api/v1/mcp id
  id=$(post "$root/servers" -d "{\"name\": \"echo\", \"transport_type\": \"http\", \"url\": \"$echo_url\"}" | jq -r .id)
  tool_url=$root/tools/$(post "$root/servers/$id/refresh" | jq -r '.tools[0].id')/execute
}

load() {
  run_wrk "$1" execute.lua "$tool_url"
  printf '| POST …/execute on %s | %s | %s | %s | %s | %s |\n' "$2" "$1" "$rate" "$p50" "$p99" "$failed"
}

directly() {
  read -r rate p50 p99 < <("${LLMRING_TEST_PYTHON:?}" tests/python/mcp_bench.py "$echo_url" "$1" "$seconds")
  printf '| Python SDK, directly | %s | %s | %s | %s | 0 |\n' "$1" "$rate" "$p50" "$p99"
}

start_echo
start_postgres
echo "| what | in flight | calls per second | p50 ms | p99 ms | failed |"
echo "|---|---|---|---|---|---|"
for kind in "SQLite sqlite://$work/load.db" "PostgreSQL $database"; do
  read -r name url <<<"$kind"
  start_server "$url"
  register
  for in_flight in 1 16 64; do load "$in_flight" "$name"; done
  stop_server
done
for in_flight in 1 16 64; do directly "$in_flight"; done
