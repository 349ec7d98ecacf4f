#!/usr/bin/env bash
# How long lists take with a million messages in 20,000 conversations of one project, on SQLite and on PostgreSQL.
# Needs wrk, curl, Python 3 and PostgreSQL's programs; everything runs on loopback and is removed at the end.
#   benches/conversations.sh [SECONDS] [CONVERSATIONS]
# LLMRING_SERVER names a built server; without it a release build is made.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-15}
conversations=${2:-20000}
messages=50
port=18081
pg_port=15434
work=$(mktemp -d)
pids=()

cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  [ -d "$work/pg" ] && as_postgres "$pg_bin/pg_ctl" -D "$work/pg" -m immediate stop >/dev/null 2>&1 || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# PostgreSQL refuses to run as root.
as_postgres() {
  (cd "$work" && if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi)
}

start_postgres() {
  pg_bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -1 || command -v initdb)")
  [ "$(id -u)" = 0 ] && chown postgres "$work"
  as_postgres "$pg_bin/initdb" -D "$work/pg" -A trust -U llmring >/dev/null
  as_postgres "$pg_bin/pg_ctl" -D "$work/pg" -l "$work/pg.log" -w \
    -o "-p $pg_port -k $work -c listen_addresses=127.0.0.1" start >/dev/null
  database=postgres://llmring@127.0.0.1:$pg_port/postgres
}

start_server() {
  LLMRING_HOST=127.0.0.1 LLMRING_PORT=$port LLMRING_DATABASE_URL=$1 \
    LLMRING_REGISTRY_BASE_URL=file://$PWD/tests/fixtures/registry/ "$server" 2>"$work/server.log" &
  server_pid=$!
  pids+=("$server_pid")
  until curl -sf "127.0.0.1:$port/health" >/dev/null; do
    kill -0 "$server_pid" || { cat "$work/server.log"; exit 1; }
  done
}

stop_server() {
  kill "$server_pid"
  wait "$server_pid" || true
}

load() {
  local name=$1 result
  result=$(BENCH_REQUEST=$2 BENCH_IDS=$work/ids wrk -t 2 -c 8 -d "${seconds}s" -s benches/conversations.lua \
    "http://127.0.0.1:$port" | grep RESULT)
  read -r _ rate p50 p99 failed <<<"$result"
  printf '| %s | %s | %s | %s | %s |\n' "$name" "$rate" "$p50" "$p99" "$failed"
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

server=${LLMRING_SERVER:-${CARGO_TARGET_DIR:-target}/release/llmring-server}
if [ -z "${LLMRING_SERVER:-}" ]; then cargo build --release -p llmring-server; fi

echo "| what, at 8 connections | per second | p50 ms | p99 ms | failed |"
echo "|---|---|---|---|---|"
measure SQLite "sqlite://$work/conversations.db"
start_postgres
measure PostgreSQL "$database"
