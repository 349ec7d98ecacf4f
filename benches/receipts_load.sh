#!/usr/bin/env bash
# Load on POST /api/v1/receipts/issue: sign, store and commit one receipt a request, on SQLite and on PostgreSQL.
# Needs wrk, curl and PostgreSQL's programs; everything runs on loopback and is removed at the end.
#   benches/receipts_load.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
port=18082
pg_port=15435
. benches/services.sh

load() {
  run_wrk "$1" receipt.lua "http://127.0.0.1:$port/api/v1/receipts/issue"
  printf '| POST /receipts/issue on %s | %s | %s | %s | %s | %s |\n' "$2" "$1" "$rate" "$p50" "$p99" "$failed"
}

mapfile -t keys < <("$server" receipts keygen 2>/dev/null)
start_postgres
echo "| what | connections | per second | p50 ms | p99 ms | failed |"
echo "|---|---|---|---|---|---|"
for kind in "SQLite sqlite://$work/load.db" "PostgreSQL $database"; do
  read -r name url <<<"$kind"
  start_server "$url" "${keys[@]}"
  for connections in 1 16 64; do load "$connections" "$name"; done
  stop_server
done
