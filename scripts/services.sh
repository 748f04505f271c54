#!/usr/bin/env bash
# Private PostgreSQL, MariaDB and Redis for the tests.
#
#   scripts/services.sh start   start what is not running; install what is missing (root)
#   scripts/services.sh env     print the export lines of the running servers
#   scripts/services.sh stop    stop exactly what `start` started
#
# Everything lives under .services/ in the checkout, listens on free loopback ports and
# is tuned for tests: nothing is synced to disk. The distribution's own servers are
# neither started nor touched.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BASE=$ROOT/.services
ENV_FILE=$BASE/env
WAIT_SECONDS=60

die() { printf 'services: %s\n' "$*" >&2; exit 1; }
say() { printf 'services: %s\n' "$*" >&2; }

# --- Who runs the servers, and where their files are -----------------------------------

# PostgreSQL refuses root, so root lends the servers to an ordinary user.
pick_user() {
    [[ $(id -u) -eq 0 ]] || { OWNER=$(id -un); return; }
    for OWNER in postgres nobody; do
        id -u "$OWNER" >/dev/null 2>&1 && return
    done
    die "there is no user 'postgres' or 'nobody' to run the servers as"
}

as_owner() {
    if [[ $(id -u) -ne 0 ]]; then
        "$@"
    elif command -v runuser >/dev/null; then
        runuser -u "$OWNER" -- "$@"
    else
        setpriv --reuid "$OWNER" --regid "$(id -g "$OWNER")" --clear-groups -- "$@"
    fi
}

# The state is in the checkout, unless the servers' user cannot get there.
pick_state() {
    STATE=$BASE/state
    [[ $(id -u) -ne 0 ]] && { mkdir -p "$STATE"; return; }
    mkdir -p "$STATE" && chown "$OWNER" "$STATE"
    as_owner test -w "$STATE" && return
    STATE=/var/tmp/knight-services-$(printf %s "$ROOT" | cksum | cut -d' ' -f1)
    [[ ! -L $STATE ]] || die "$STATE is a symbolic link, remove it"
    mkdir -p -m 0755 "$STATE" && chown "$OWNER" "$STATE"
}

# --- Programs --------------------------------------------------------------------------

# The path of a program, sbin and PostgreSQL's own directories (newest first) included.
find_program() {
    local name path
    for name in "$@"; do
        path=$(command -v "$name") && { printf '%s\n' "$path"; return; }
        for path in "/usr/sbin/$name" "/usr/local/sbin/$name" \
            $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV | sed "s|\$|/$name|"); do
            [[ -x $path ]] && { printf '%s\n' "$path"; return; }
        done
    done
    return 1
}

missing_packages() {
    find_program initdb >/dev/null || echo postgresql
    find_program mariadbd mysqld >/dev/null || echo mariadb-server
    find_program mariadb-install-db mysql_install_db >/dev/null || echo mariadb-server
    find_program redis-server valkey-server >/dev/null || echo redis-server
}

install_missing() {
    local packages
    packages=$(missing_packages | sort -u | tr '\n' ' ')
    [[ -z ${packages// /} ]] && return
    [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null ||
        die "missing: install these packages (Debian's names): $packages"
    say "installing $packages"
    # The packages start their servers unless a policy forbids it.
    local policy=/usr/sbin/policy-rc.d ours=no
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && ours=yes
    fi
    local log=$BASE/install.log failed=no
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of names
    { apt-get -q update && apt-get -qy --no-install-recommends install $packages; } \
        >"$log" 2>&1 || failed=yes
    [[ $ours == yes ]] && rm -f "$policy"
    [[ $failed == no ]] || die "apt-get failed, see $log: $(tail -n 1 "$log")"
}

# --- Processes -------------------------------------------------------------------------

pid_of() { cat "$STATE/$1.pid" 2>/dev/null || true; }

# True when the recorded process lives and is ours: its command names our directory, or
# the address, which is all that Redis leaves of its command.
running() {
    local pid
    pid=$(pid_of "$1")
    [[ -n $pid ]] && ps -ww -o args= -p "$pid" 2>/dev/null |
        grep -qF -e "$STATE/$1" -e "127.0.0.1:$(port_of "$1")"
}

# Starts a server detached from this shell, its output in the state's log.
launch() {
    local name=$1; shift
    local log=$STATE/$name.log
    # shellcheck disable=SC2016  # expanded by the inner shell
    as_owner sh -c '
        cd "$1"; log=$2 pid=$3; shift 3
        setsid "$@" >>"$log" 2>&1 </dev/null 9>&- &
        echo $! >"$pid"' launch "$STATE" "$log" "$STATE/$name.pid" "$@"
}

await() {
    local name=$1 port=$2 tries=0
    until answers "$port"; do
        running "$name" || [[ $tries -lt 5 ]] ||
            die "$name did not start: $(tail -n 1 "$STATE/$name.log" 2>/dev/null)"
        ((++tries < WAIT_SECONDS * 5)) ||
            die "$name did not answer within $WAIT_SECONDS s, see $STATE/$name.log"
        sleep 0.2
    done
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The port kept from the last start when it is free, else a free one.
choose_port() {
    local kept=$STATE/$1.port port
    if [[ -s $kept ]] && port=$(<"$kept") && ! answers "$port"; then
        printf '%s\n' "$port"
        return
    fi
    port=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])') ||
        die "python3 is needed to find a free port"
    printf '%s\n' "$port" >"$kept"
    printf '%s\n' "$port"
}

port_of() { cat "$STATE/$1.port" 2>/dev/null || true; }

halt() {
    local name=$1 signal=$2 pid tries=0
    running "$name" || { rm -f "$STATE/$name.pid"; return 0; }
    pid=$(pid_of "$name")
    kill -s "$signal" "$pid" 2>/dev/null || true
    while running "$name"; do
        ((++tries < 100)) || { kill -s KILL "$pid" 2>/dev/null || true; break; }
        sleep 0.1
    done
    rm -f "$STATE/$name.pid"
    say "stopped $name"
}

# --- The servers -----------------------------------------------------------------------

start_postgres() {
    running postgres && return
    local data=$STATE/postgres port
    port=$(choose_port postgres)
    if [[ ! -f $data/PG_VERSION ]]; then
        rm -rf "$data"
        as_owner "$(find_program initdb)" -D "$data" -U knight --auth=trust \
            --no-sync --encoding=UTF8 --locale=C >"$BASE/initdb.log" 2>&1 ||
            die "initdb failed: $(tail -n 1 "$BASE/initdb.log")"
    fi
    rm -f "$data/postmaster.pid"
    launch postgres "$(find_program postgres)" -D "$data" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
        -c wal_level=minimal -c max_wal_senders=0 -c max_connections=200 \
        -c shared_buffers=64MB -c logging_collector=off
    await postgres "$port"
    # It listens a moment before it serves.
    until "$(find_program pg_isready)" -q -h 127.0.0.1 -p "$port"; do sleep 0.1; done
    say "PostgreSQL on port $port"
}

start_mariadb() {
    running mariadb && return
    local data=$STATE/mariadb port install server
    port=$(choose_port mariadb)
    server=$(find_program mariadbd mysqld)
    install=$(find_program mariadb-install-db mysql_install_db)
    if [[ ! -f $STATE/mariadb.ready ]]; then
        rm -rf "$data"
        as_owner "$install" --no-defaults --datadir="$data" --skip-test-db \
            --auth-root-authentication-method=normal >"$BASE/mariadb-install.log" 2>&1 ||
            die "mariadb-install-db failed: $(tail -n 1 "$BASE/mariadb-install.log")"
        as_owner sh -c 'cat >"$1"' sh "$STATE/mariadb.sql" <<'SQL'
CREATE DATABASE IF NOT EXISTS knight CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'knight'@'%' IDENTIFIED BY 'knight';
GRANT ALL ON *.* TO 'knight'@'%' WITH GRANT OPTION;
SQL
        as_owner touch "$STATE/mariadb.ready"
    fi
    # The socket's name is relative: it lies in the data directory, whatever its length.
    launch mariadb "$server" --no-defaults --datadir="$data" --port="$port" \
        --bind-address=127.0.0.1 --socket=mariadb.sock --pid-file=mariadb.pid \
        --init-file="$STATE/mariadb.sql" --skip-name-resolve --skip-log-bin \
        --character-set-server=utf8mb4 --max-connections=200 --performance-schema=0 \
        --innodb-buffer-pool-size=64M --innodb-log-file-size=32M \
        --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0
    await mariadb "$port"
    say "MariaDB on port $port"
}

start_redis() {
    running redis && return
    local data=$STATE/redis port
    port=$(choose_port redis)
    as_owner mkdir -p "$data"
    launch redis "$(find_program redis-server valkey-server)" \
        --port "$port" --bind 127.0.0.1 --dir "$data" --save '' --appendonly no
    await redis "$port"
    say "Redis on port $port"
}

# --- Commands --------------------------------------------------------------------------

write_env() {
    cat >"$ENV_FILE" <<EOF
export KNIGHT_TEST_POSTGRES='postgres://knight@127.0.0.1:$(port_of postgres)/postgres?sslmode=disable'
export KNIGHT_TEST_MYSQL='knight:knight@tcp(127.0.0.1:$(port_of mariadb))/knight'
export KNIGHT_TEST_REDIS='redis://127.0.0.1:$(port_of redis)/0'
EOF
}

prepare() {
    mkdir -p "$BASE"
    if command -v flock >/dev/null; then
        exec 9>"$BASE/lock"
        flock -w 600 9 || die "another call holds $BASE/lock"
    fi
}

start() {
    install_missing
    pick_user
    pick_state
    start_postgres
    start_mariadb
    start_redis
    write_env
}

stop() {
    [[ -d $BASE ]] || return 0
    pick_user
    pick_state
    halt postgres INT
    halt mariadb TERM
    halt redis TERM
    rm -f "$ENV_FILE"
}

print_env() {
    [[ -s $ENV_FILE ]] || die "not running; first: scripts/services.sh start"
    cat "$ENV_FILE"
}

case ${1:-} in
    start) prepare; start ;;
    stop) prepare; stop ;;
    env) print_env ;;
    *) die "usage: scripts/services.sh start|stop|env" ;;
esac
