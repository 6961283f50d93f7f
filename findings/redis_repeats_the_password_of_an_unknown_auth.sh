#!/usr/bin/env bash
# Redis whose operator has taken AUTH away (`rename-command AUTH ""`, as hosts do that have a login of their own before
# it), and a client that is configured with user and password.
#
# A good guess: the login is refused by an error that names the command: nobody repeats what follows AUTH, which is why
# MONITOR, SLOWLOG and the server's log leave its arguments out.
# What happens: the error for a command that is not known repeats the arguments, so that user and password stand in it, and
# in whatever log the client writes its errors into.
# Seen with Redis 7.0.15.
set -euo pipefail
for command in redis-server redis-cli; do
    command -v "$command" >/dev/null || { echo "needed: $command" >&2; exit 1; }
done
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

redis-server --port 7394 --bind 127.0.0.1 --save "" --appendonly no --dir "$work" --rename-command AUTH "" >redis.log &
server=$!
for _ in $(seq 100); do
    redis-cli -p 7394 ping >/dev/null 2>&1 && break
    sleep 0.05
done

redis-server --version | sed 's/.* v=\([^ ]*\).*/Redis \1/'
answer=$(timeout 5 redis-cli -p 7394 auth app not-a-secret 2>&1 | head -n 1)
echo "AUTH is answered: $answer"
redis-cli -p 7394 config set slowlog-log-slower-than 0 >/dev/null
redis-cli -p 7394 auth app not-a-secret >/dev/null 2>&1 || true
echo "entries of the slow log that name the password: $(redis-cli -p 7394 slowlog get | grep -c not-a-secret || true)"

case $answer in
*"unknown command"*not-a-secret*) ;;
*)
    echo "this is not what was seen" >&2
    exit 1
    ;;
esac
