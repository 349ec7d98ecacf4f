#!/usr/bin/env bash
# Load on POST /api/v1/receipts/issue: sign, store and commit one receipt a request. Needs wrk and curl; on loopback.
#   benches/receipts_load.sh [SECONDS] [POSTGRES_URL]
# Without a URL it measures SQLite alone. The database's schemas `receipts_load` and `receipts_load_mcp` stay behind.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
postgres=${2:-}
port=18081
server=${CARGO_TARGET_DIR:-target}/release/llmring-server
work=$(mktemp -d)
server_pid=

stop_server() {
  [ -z "$server_pid" ] || { kill "$server_pid" && wait "$server_pid" || true; }
  server_pid=
}

cleanup() {
  stop_server
  rm -rf "$work"
}
trap cleanup EXIT

start_server() {
  env $("$server" receipts keygen 2>/dev/null) LLMRING_HOST=127.0.0.1 LLMRING_PORT=$port LLMRING_DATABASE_URL="$1" \
    LLMRING_DATABASE_SCHEMA=receipts_load LLMRING_DATABASE_MCP_SCHEMA=receipts_load_mcp \
    LLMRING_REGISTRY_BASE_URL="file://$PWD/tests/fixtures/registry/" "$server" 2>"$work/server.log" &
  server_pid=$!
  until curl -sf "127.0.0.1:$port/health" >/dev/null; do
    kill -0 "$server_pid" || { cat "$work/server.log"; exit 1; }
  done
}

load() {
  local connections=$1 name=$2 path=$3 result rate p50 p99 failed
  result=$(wrk -t 1 -c "$connections" -d "${seconds}s" -s benches/receipt.lua "http://127.0.0.1:$port$path" | grep RESULT)
  read -r _ rate p50 p99 failed <<<"$result"
  printf '| %s on %s | %s | %s | %s | %s | %s |\n' "$path" "$name" "$connections" "$rate" "$p50" "$p99" "$failed"
}

cargo build --release -p llmring-server
echo "| what | connections | per second | p50 ms | p99 ms | failed |"
echo "|---|---|---|---|---|---|"
for database in "SQLite sqlite://$work/load.db" ${postgres:+"PostgreSQL $postgres"}; do
  read -r name url <<<"$database"
  start_server "$url"
  for connections in 1 16 64; do load "$connections" "$name" /api/v1/receipts/issue; done
  stop_server
done
