#!/usr/bin/env bash
# The package `centrifuge` over HTTP (`http_stream`), where each command is a request of its own. One of them cannot be
# sent, because its connection is refused for a moment; another is answered with 503.
#
# A good guess: the command fails, as `rpc` promises that it does, and the client tells of an error or connects anew.
# What happens: the package looks at neither. Of the answer with 503 nobody hears until the command has timed out
# after 5 s. The request that cannot be sent is a rejected promise that nobody holds, which ends a program in Node at
# once, with its connection in good order and handlers for errors in place; a browser writes it into its console.
# Seen with centrifuge 5.7.4 and Node 20.20.2.
set -euo pipefail
for command in node npm; do
    command -v "$command" >/dev/null || { echo "needed: $command" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
timeout 300 npm install --silent --ignore-scripts --no-audit --no-fund centrifuge@5.7.4

cat >run.js <<'JS'
const { createServer } = require("node:http");
const { Centrifuge } = require("centrifuge");

const [,, emulation] = process.argv;

// A server of the protocol, as far as this needs one.
const server = createServer((request, response) => {
  request.resume();
  if (request.url === "/emulation") {
    response.writeHead(503).end();
    return;
  }
  response.writeHead(200);
  const connect = { client: "c", version: "v", ping: 25, session: "s", node: "n" };
  response.write(`${JSON.stringify({ id: 1, connect })}\n`);
});
server.listen(0, "127.0.0.1", async () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  const client = new Centrifuge([{ transport: "http_stream", endpoint: `${origin}/connection/http_stream` }], {
    // Nobody listens at port 1.
    emulationEndpoint: emulation === "refused" ? "http://127.0.0.1:1/emulation" : `${origin}/emulation`,
  });
  client.on("error", (context) => console.log("the client tells of an error:", context.error.message));
  await new Promise((resolve) => { client.on("connected", resolve); client.connect(); });
  const begin = Date.now();
  await client.rpc("m", {}).catch((error) => console.log(`rpc fails after ${Math.round((Date.now() - begin) / 1000)} s: ${error.message}`));
  console.log(`the client is ${client.state}`);
  process.exit(0);
});
JS

unavailable=$(timeout 60 node run.js unavailable)
echo "503:     $unavailable"
[ "$unavailable" = $'rpc fails after 5 s: timeout\nthe client is connected' ] || { echo "this is not what was seen" >&2; exit 1; }

status=0
refused=$(timeout 60 node run.js refused 2>&1) || status=$?
echo "refused: exit status $status, $(grep -c 'fetch failed' <<<"$refused") x fetch failed"
if [ "$status" -ne 1 ] || ! grep -q 'TypeError: fetch failed' <<<"$refused" || grep -q 'the client' <<<"$refused"; then
    echo "this is not what was seen: $refused" >&2
    exit 1
fi
