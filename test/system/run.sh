#!/usr/bin/env bash
# What needs Debian packages: what `npm test` has of rooms with tables, on a stock PostgreSQL server, and test/system/.
# The tests find CHROMIUM (a browser), PG15_BIN (the server's programs) and SOFTHSM2_MODULE (a token that is
# software) in their environment; set any beforehand to use another one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH="$PWD/node_modules/.bin:$PATH" # the project's own Node.js, also when npm did not start this
work=
# Rooms that rest on what the database does. What the others promise is the same on any server.
rooms='admins|agents|audiences|audit|db|delegations|entitlements|events|revoke|rules|sessions|streams|tenants|token|users'
no_cluster=/etc/postgresql-common/createcluster.d/agent-idp.conf

main() {
  trap stop EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM

  find_programs
  if ! has_all; then
    install_missing
    find_programs
  fi
  has_all || give_up
  has_pkcs11js || build_pkcs11js || true
  has_pkcs11js || give_up
  export CHROMIUM PG15_BIN SOFTHSM2_MODULE

  start_postgres
  echo "PostgreSQL: $("$PG15_BIN/postgres" --version), at ${TEST_DATABASE_URL##*@}"
  echo "Browser: $CHROMIUM"
  echo "Token: $SOFTHSM2_MODULE"

  local failed=0
  run_tests --test-concurrency=2 "test/@($rooms)/**/*.test.ts" test/tidy.test.ts || failed=1
  run_tests --test-force-exit --test-timeout=600000 'test/system/**/*.test.ts' || failed=1
  return "$failed"
}

run_tests() {
  node --test --test-global-setup=./test/support/global-setup.ts "$@"
}

# Version 15 where there is one: it is the oldest that the server promises to work with.
find_programs() {
  CHROMIUM=${CHROMIUM:-$(command -v chromium || true)}
  if [ -z "${PG15_BIN:-}" ]; then
    PG15_BIN=
    local bin
    for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
      if [ -x "$bin/initdb" ] && [ "$(basename "$(dirname "$bin")")" -ge 15 ]; then
        PG15_BIN=$bin
        break
      fi
    done
  fi
  if [ -z "${SOFTHSM2_MODULE:-}" ]; then
    SOFTHSM2_MODULE=
    [ ! -e /usr/lib/softhsm/libsofthsm2.so ] || SOFTHSM2_MODULE=/usr/lib/softhsm/libsofthsm2.so
  fi
}

has_all() {
  [ -n "$CHROMIUM" ] && [ -n "$PG15_BIN" ] && has_softhsm && { has_pkcs11js || has_compiler; }
}

has_softhsm() {
  [ -n "$SOFTHSM2_MODULE" ] && command -v softhsm2-util >/dev/null
}

has_pkcs11js() {
  node -e "require('pkcs11js')" 2>/dev/null
}

# Where npm found no compiler, it left the package out; where it runs no scripts, it left it as it came.
build_pkcs11js() {
  [ -d node_modules/pkcs11js ] || npm install --no-save
  npm rebuild pkcs11js
}

has_compiler() {
  command -v g++ >/dev/null && command -v make >/dev/null && command -v python3 >/dev/null
}

install_missing() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || give_up
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  local packages=()
  [ -n "$CHROMIUM" ] || packages+=(chromium)
  if [ -z "$PG15_BIN" ]; then
    if apt-cache show postgresql-15 >/dev/null 2>&1; then packages+=(postgresql-15); else packages+=(postgresql); fi
    # The server's package would make a cluster and start it, and nobody would stop it again.
    mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' >"$no_cluster"
  fi
  has_softhsm || packages+=(softhsm2)
  has_pkcs11js || has_compiler || packages+=(g++ make python3)
  apt-get install -y --no-install-recommends "${packages[@]}"
  rm -f "$no_cluster"
}

give_up() {
  {
    echo 'test:system needs Debian packages that are missing here:'
    [ -n "$CHROMIUM" ] || echo '  chromium        a browser'
    [ -n "$PG15_BIN" ] || echo '  postgresql-15   a PostgreSQL server (any version from 15 on will do)'
    has_softhsm || echo '  softhsm2        a token for keys'
    has_pkcs11js || echo '  g++ make python3  for npm install and npm rebuild pkcs11js, which compiles it'
    echo 'As root, with apt-get at hand, this script installs them; otherwise ask for:'
    echo '  apt-get install --no-install-recommends chromium postgresql-15 softhsm2 g++ make python3'
    echo 'or name what you have: CHROMIUM=<program> PG15_BIN=<folder of initdb and pg_ctl>'
    echo 'SOFTHSM2_MODULE=<libsofthsm2.so>.'
  } >&2
  exit 1
}

# PostgreSQL refuses to run as root; its package brings the account.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

start_postgres() {
  # Not under TMPDIR, which may be a folder that the postgres account cannot enter.
  work=$(mktemp -d /tmp/agent-idp-postgres.XXXXXX)
  local password port attempt
  password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  (umask 077 && printf '%s\n' "$password" >"$work/password")
  [ "$(id -u)" != 0 ] || chown -R postgres: "$work"
  (
    cd "$work" # the current folder may be closed to the account
    as_postgres "$PG15_BIN/initdb" --pgdata="$work/data" --username=postgres --pwfile="$work/password" \
      --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
  )
  # Below 32768, where Linux starts handing out ports to outgoing connections.
  for attempt in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    if (
      cd "$work"
      as_postgres "$PG15_BIN/pg_ctl" start --wait --silent --pgdata="$work/data" --log="$work/log" --options="-p $port \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories=$work -c max_connections=300 \
        -c track_commit_timestamp=on"
    ); then
      export TEST_DATABASE_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
      return
    fi
    echo "port $port did not work, attempt $attempt of 5" >&2
  done
  cat "$work/log" >&2
  exit 1
}

stop() {
  [ ! -e "$no_cluster" ] || rm -f "$no_cluster"
  if [ -n "$work" ]; then
    if [ -e "$work/data/postmaster.pid" ]; then
      (cd "$work" && as_postgres "$PG15_BIN/pg_ctl" stop --silent --mode=immediate --pgdata="$work/data") || true
    fi
    rm -rf "$work"
  fi
}

main
