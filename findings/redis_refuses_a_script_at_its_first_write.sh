#!/usr/bin/env bash
# Redis that refuses writes: its memory is full (`maxmemory`, `noeviction`), or too few replicas are there
# (`min-replicas-to-write`). Scripts by EVAL.
#
# A good guess: a script is refused as a whole, or runs as a whole, by what it does.
# What happens: a script without `#!` runs until its first write. One that happens to write nothing is
# answered, so that readers see a server that is well. A script with `#!lua` and no flags is refused before
# it runs, although it only reads; `no-writes` must say so.
# Seen with Redis 7.0.15 of Debian 12.
set -euo pipefail
command -v redis-server >/dev/null || { echo "needed: redis-server" >&2; exit 1; }

work=$(mktemp -d)
timeout 60 redis-server --port 0 --unixsocket "$work/socket" --save "" --dir "$work" >"$work/log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$work"' EXIT
ask() { timeout 10 redis-cli -s "$work/socket" "$@" 2>&1 | sed 's/ .*//'; } # the first word says what came of it
for _ in $(seq 100); do
    [ "$(ask ping)" = PONG ] && break
    sleep 0.1
done

newline=$'\n'
failed=0
expect() { # what, expected, script
    local seen
    seen=$(ask eval "$3" 1 key)
    printf '  %-34s %s\n' "$1" "$seen"
    [ "$seen" = "$2" ] || failed=1
}
scripts() { # what reads, reads and writes, reads with #!, reads with no-writes give
    expect 'it reads' "$1" "return redis.call('get', KEYS[1])"
    expect 'it reads, then writes' "$2" "redis.call('get', KEYS[1]) redis.call('set', KEYS[1], 'old') return 'done'"
    expect '#!lua: it reads' "$3" "#!lua${newline}return redis.call('get', KEYS[1])"
    expect '#!lua flags=no-writes: it reads' "$4" "#!lua flags=no-writes${newline}return redis.call('get', KEYS[1])"
}

ask set key old >/dev/null
echo 'all is well'
scripts old done old old
echo 'maxmemory is reached'
ask config set maxmemory 100kb >/dev/null
scripts old OOM OOM old
ask config set maxmemory 0 >/dev/null
echo 'too few replicas'
ask config set min-replicas-to-write 1 >/dev/null
scripts old NOREPLICAS NOREPLICAS old

if [ "$failed" -ne 0 ]; then
    echo "this is not what was seen" >&2
    exit 1
fi
