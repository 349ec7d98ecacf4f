#!/usr/bin/env bash
# Load on POST /api/v1/log beside pgbench inserting the same row alone, in one run on one machine.
# Needs wrk, curl and PostgreSQL's programs; everything runs on loopback and is removed at the end.
#   benches/log_load.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-15}
port=18080
pg_port=15433
. benches/services.sh

load() {
  run_wrk "$1" log.lua "http://127.0.0.1:$port/api/v1/log"
  printf '| %s | %s | %s | %s | %s | %s |\n' "$2" "$1" "$rate" "$p50" "$p99" "$failed"
}

single_rows() {
  local connections=$1 rate p50 p99
  (cd "$work" && PGOPTIONS="-c search_path=llmring" "$pg_bin/pgbench" -n -M prepared -c "$connections" -j 2 -T "$seconds" \
    -f "$OLDPWD/benches/insert.sql" -l --log-prefix="$work/pgbench" "$database" >"$work/pgbench.txt" 2>&1) ||
    { cat "$work/pgbench.txt"; exit 1; }
  rate=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work/pgbench.txt")
  read -r p50 p99 < <(cat "$work"/pgbench.[0-9]* | awk '{print $3}' | sort -n |
    awk '{v[NR]=$1} END {printf "%.2f %.2f\n", v[int(NR*0.5)]/1000, v[int(NR*0.99)]/1000}')
  rm -f "$work"/pgbench.[0-9]*
  printf '| pgbench, one row a commit | %s | %s | %s | %s | 0 |\n' "$connections" "$rate" "$p50" "$p99"
}

start_postgres

echo "| what | connections | per second | p50 ms | p99 ms | failed |"
echo "|---|---|---|---|---|---|"
start_server "sqlite://$work/load.db"
for connections in 16 256; do load "$connections" "POST /log on SQLite"; done
stop_server
start_server "$database"
for connections in 16 256; do
  load "$connections" "POST /log on PostgreSQL"
  single_rows "$connections"
done
stop_server

echo
echo "Start on an existing database, then idle:"
for kind in "SQLite sqlite://$work/load.db" "PostgreSQL $database"; do
  read -r name url <<<"$kind"
  begin=$(date +%s%N)
  start_server "$url"
  end=$(date +%s%N)
  rss=$(awk '/VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$server_pid/status")
  echo "- $name: first answer after $(((end - begin) / 1000000)) ms, $rss MB resident"
  stop_server
done
