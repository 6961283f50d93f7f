#!/usr/bin/env bash
# A Redis primary and its replica on loopback. The replica is made anew ten times, which is a full synchronisation, and
# asked until it says `master_link_status:up`. Then a write at the primary waits for it: `WAIT 1 100`.
#
# A good guess: the link is up, so a write is at the replica within a round trip, and WAIT answers 1.
# What happens: a replica acknowledges what it got first as soon as it has it. If the primary has not noticed by then that
# its process which sent that has ended (it looks ten times a second), the acknowledgement is dropped, and the primary
# sends nothing until the next, a second later. `WAIT` answers 0 until then, and longer waits take so long,
# although all links are up. It is mostly so if the replica reads into memory (`repl-diskless-load swapdb`); if it goes
# by way of a file, as it does by default, it depends on how fast the disk is. It is never so if the primary sends a file.
# Seen with Redis 7.0.15 of Debian 12, whose primaries send without a file by default (`repl-diskless-sync`).
set -euo pipefail
command -v redis-server >/dev/null || { echo "needed: redis-server" >&2; exit 1; }

work=$(mktemp -d)
mkdir "$work/primary" "$work/replica"
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true; rm -rf "$work"' EXIT
for _ in $(seq 20); do # a port may be taken
    port=$((20000 + RANDOM % 10000))
    timeout 120 redis-server --port "$port" --bind 127.0.0.1 --unixsocket "$work/primary.socket" --save "" \
        --dir "$work/primary" --repl-diskless-sync-delay 0 >"$work/primary.log" &
    sleep 0.3
    [ -S "$work/primary.socket" ] && break
done
timeout 120 redis-server --port 0 --unixsocket "$work/replica.socket" --save "" --dir "$work/replica" >"$work/replica.log" &
at() { # primary or replica
    local which=$1
    shift
    timeout 10 redis-cli -s "$work/$which.socket" "$@"
}
for _ in $(seq 100); do
    [ "$(at replica ping 2>&1)" = PONG ] && break
    sleep 0.1
done

replicate() { # the replica begins anew, and says that the link is up
    at replica replicaof no one >/dev/null
    at replica replicaof 127.0.0.1 "$port" >/dev/null
    for _ in $(seq 1000); do
        at replica info replication | grep -q '^master_link_status:up' && return
        sleep 0.002
    done
    echo "the replica does not follow" >&2
    exit 1
}
waits() { printf 'set key value\nwait 1 100\n' | at primary | tail -n 1; }

failed=0
try() { # what the primary does without a file, and the replica
    at primary config set repl-diskless-sync "$1" >/dev/null
    at replica config set repl-diskless-load "$2" >/dev/null
    local missed=0 later=0
    for _ in $(seq 10); do
        replicate
        [ "$(waits)" = 0 ] && missed=$((missed + 1))
        sleep 1.2
        [ "$(waits)" = 1 ] && later=$((later + 1))
    done
    printf '  sync %-4s load %-9s WAIT answers 0 in %d of 10, and 1 a second later in %d\n' "$1" "$2" "$missed" "$later"
    # That second may begin and end at any moment, and a machine may be slow.
    [ "$later" -ge 8 ] && case $1/$2 in
        yes/swapdb) [ "$missed" -ge 3 ] ;;
        yes/*) true ;;
        no/*) [ "$missed" -le 1 ] ;;
    esac || failed=1
}
try no disabled
try yes disabled
try yes swapdb

if [ "$failed" -ne 0 ]; then
    echo "this is not what was seen" >&2
    exit 1
fi
