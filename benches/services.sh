# Sourced by the load tests: PostgreSQL and the server, on loopback, in a directory that goes away with them.
# The test sets `port` and `pg_port` first. LLMRING_SERVER names a built server; without it a release build is made.
# shellcheck shell=bash

work=$(mktemp -d)
server=${LLMRING_SERVER:-${CARGO_TARGET_DIR:-target}/release/llmring-server}
server_pid=
pg_bin=

cleanup() {
  stop_server
  [ -z "$pg_bin" ] || as_postgres "$pg_bin/pg_ctl" -D "$work/pg" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

# PostgreSQL refuses to run as root.
as_postgres() {
  (cd "$work" && if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi)
}

# Its URL is in `database` afterwards.
start_postgres() {
  local initdb
  initdb=$(find /usr/lib/postgresql -name initdb 2>/dev/null | sort -V | tail -1)
  pg_bin=$(dirname "${initdb:-$(command -v initdb)}")
  if [ "$(id -u)" = 0 ]; then chown postgres "$work"; fi
  as_postgres "$pg_bin/initdb" -D "$work/pg" -A trust -U llmring >/dev/null
  as_postgres "$pg_bin/pg_ctl" -D "$work/pg" -l "$work/pg.log" -w \
    -o "-p $pg_port -k $work -c listen_addresses=127.0.0.1 -c max_connections=300" start >/dev/null
  database=postgres://llmring@127.0.0.1:$pg_port/postgres
}

# start_server DATABASE_URL [SETTING=VALUE...]
start_server() {
  local url=$1
  shift
  env LLMRING_HOST=127.0.0.1 LLMRING_PORT="$port" LLMRING_DATABASE_URL="$url" \
    LLMRING_REGISTRY_BASE_URL="file://$PWD/tests/fixtures/registry/" "$@" "$server" 2>"$work/server.log" &
  server_pid=$!
  until curl -sf "127.0.0.1:$port/health" >/dev/null; do
    kill -0 "$server_pid" || { cat "$work/server.log"; exit 1; }
  done
}

stop_server() {
  if [ -n "$server_pid" ]; then
    kill "$server_pid" 2>/dev/null || true
    wait "$server_pid" || true
  fi
  server_pid=
}

# run_wrk CONNECTIONS SCRIPT URL: sets `rate`, `p50`, `p99` and `failed`.
run_wrk() {
  local result
  result=$(wrk -t $(($1 < 2 ? 1 : 2)) -c "$1" -d "${seconds}s" -s "benches/$2" "$3" | grep RESULT)
  # shellcheck disable=SC2034 # for the caller
  read -r _ rate p50 p99 failed <<<"$result"
}

if [ -z "${LLMRING_SERVER:-}" ]; then cargo build --release -p llmring-server; fi
