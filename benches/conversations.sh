#!/usr/bin/env bash
# How long lists take with a million messages in 20,000 conversations of one project, on SQLite and on PostgreSQL.
# Needs wrk, curl, Python 3 and PostgreSQL's programs; everything runs on loopback and is removed at the end.
#   benches/conversations.sh [SECONDS] [CONVERSATIONS]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-15}
conversations=${2:-20000}
messages=50
port=18081
pg_port=15434
. benches/services.sh

load() {
  BENCH_REQUEST=$2 BENCH_IDS=$work/ids run_wrk 8 conversations.lua "http://127.0.0.1:$port"
  printf '| %s | %s | %s | %s | %s |\n' "$1" "$rate" "$p50" "$p99" "$failed"
}

measure() {
  local database=$1 url=$2
  start_server "$url"
  python3 benches/conversations_fill.py "$port" "$conversations" "$messages" >"$work/ids"
  stop_server
  if [ "$database" = PostgreSQL ]; then as_postgres "$pg_bin/psql" -qd "$url" -c 'VACUUM ANALYZE'; fi
  start_server "$url"
  load "GET /conversations on $database" list
  load "GET /conversations?offset=… on $database" page
  load "GET /conversations/{id}?message_limit=100 on $database" one
  load "GET /conversations?q=… on $database" search
  stop_server
}

echo "| what, at 8 connections | per second | p50 ms | p99 ms | failed |"
echo "|---|---|---|---|---|"
measure SQLite "sqlite://$work/conversations.db"
start_postgres
measure PostgreSQL "$database"
