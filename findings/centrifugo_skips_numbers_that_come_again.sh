#!/usr/bin/env bash
# Centrifugo with Redis; a channel with a history, recovery and positions; centrifuge-js. Redis is killed and
# comes back with the snapshot that it wrote before the last publications, as with its default `save`, or as a
# replica does that takes over without them.
#
# A good guess: recovery is there to notice what a Redis has lost: the subscriber is told, as when the epoch changes.
# What happens: the channel's offset goes back with the snapshot and its epoch stays. The next publications get
# the offsets of those that were lost; the server takes them for late ones and skips them for whoever is
# connected. The publisher is answered with offset and epoch, nobody is told, and the subscription goes on
# with the first offset that is new.
# Seen with Centrifugo 6.9.1, centrifuge-js 5.8.0 and Redis 7.0.15. Compiling Centrifugo takes minutes.
set -euo pipefail
for command in redis-server node npm go curl; do
    command -v "$command" >/dev/null || { echo "needed: $command" >&2; exit 1; }
done

work=$(mktemp -d)
pids=()
trap 'kill -9 "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
centrifugo=${CENTRIFUGO_BIN:-$work/centrifugo}
[ -x "$centrifugo" ] || GOBIN=$work timeout 3600 go install github.com/centrifugal/centrifugo/v6@v6.9.1
cd "$work"
timeout 300 npm install --silent --ignore-scripts --no-audit --no-fund centrifuge@5.8.0 ws@8.23.0

redis() {
    redis-server --port 7392 --bind 127.0.0.1 --save "" --appendonly no --dir "$work" >>redis.log &
    redis=$!
    pids+=("$redis")
    until redis-cli -p 7392 ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
}
redis

cat >config.json <<'JSON'
{
  "http_server": {"address": "127.0.0.1", "port": "7393"},
  "http_api": {"key": "key"},
  "client": {"insecure": true, "allowed_origins": ["http://127.0.0.1"]},
  "channel": {"namespaces": [{"name": "news", "history_size": 100, "history_ttl": "600s", "force_recovery": true,
    "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true}]},
  "engine": {"type": "redis", "redis": {"address": "redis://127.0.0.1:7392"}}
}
JSON
"$centrifugo" --config config.json >centrifugo.log 2>&1 &
pids+=($!)

cat >subscriber.js <<'JS'
const { Centrifuge } = require("centrifuge");
const client = new Centrifuge("ws://127.0.0.1:7393/connection/websocket", { websocket: require("ws") });
const news = client.newSubscription("news:today", { recoverable: true, positioned: true });
news.on("subscribed", ({ wasRecovering, recovered }) => console.log(`subscribed ${wasRecovering} ${recovered}`));
news.on("publication", ({ data, offset }) => console.log(`got ${data} at ${offset}`));
news.subscribe();
client.connect();
JS
timeout 100 node subscriber.js >subscriber.log &
pids+=($!)
until grep -q subscribed subscriber.log; do sleep 0.1; done

publish() {
    local answer
    until answer=$(curl -s -m 5 -H "X-API-Key: key" -d "{\"channel\": \"news:today\", \"data\": \"$1\"}" http://127.0.0.1:7393/api/publish) &&
        grep -q offset <<<"$answer"; do sleep 0.2; done
    echo "published $1 at $(sed 's/.*"offset":\([0-9]*\).*/\1/' <<<"$answer")"
}
for word in one two; do publish "$word"; done
redis-cli -p 7392 save >/dev/null
for word in three four; do publish "$word"; done
until grep -q four subscriber.log; do sleep 0.1; done
kill -9 "$redis"
wait "$redis" 2>/dev/null || true
redis
until grep -q . <(redis-cli -p 7392 pubsub channels); do sleep 0.2; done # the server is back at its Redis
for word in five six seven; do publish "$word"; done
until grep -q seven subscriber.log; do sleep 0.1; done
cat subscriber.log

expected='subscribed false false
got one at 1
got two at 2
got three at 3
got four at 4
got seven at 5'
if [ "$(cat subscriber.log)" != "$expected" ]; then
    echo "this is not what was seen" >&2
    exit 1
fi
