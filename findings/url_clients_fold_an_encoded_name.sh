#!/usr/bin/env bash
# Clients that put a percent-encoded name into a path: "/users/" + encode(name) + "/push", where the name
# is "..".
#
# A good guess: who encodes each name can put any of them into a path, because "/" becomes %2F.
# What happens: no encoder touches dots (they are unreserved), and Node's `fetch`, as every browser,
# takes the segment away before it sends: the request goes to /push. So does `%2e%2e`, which somebody may
# have encoded by hand: in the URL standard it is a double-dot segment as well. curl folds the first (not
# with --path-as-is), and `http.request` of Node with a path and Python's `urllib` fold neither.
# Seen with Node 20.20.2, curl 7.88.1 and Python 3.11.
set -euo pipefail
for program in node curl python3; do
    command -v "$program" >/dev/null || { echo "needed: $program" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/run.js" <<'JAVASCRIPT'
const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const { createServer, request } = require("node:http");
const { promisify } = require("node:util");
const execute = promisify(execFile);

const PYTHON = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()";
const CLIENTS = {
  "fetch": (origin, path) => fetch(origin + path),
  "http.request": (origin, path) => new Promise((resolve, reject) => {
    request(origin, { path, agent: false }, (response) => response.resume().on("end", resolve)).on("error", reject).end();
  }),
  "curl": (origin, path) => execute("curl", ["-sS", origin + path]),
  "urllib": (origin, path) => execute("python3", ["-c", PYTHON, origin + path]),
};
const EXPECTED = {
  "fetch": ["/push", "/push"],
  "http.request": ["/users/../push", "/users/%2e%2e/push"],
  "curl": ["/push", "/users/%2e%2e/push"],
  "urllib": ["/users/../push", "/users/%2e%2e/push"],
};

let asked;
const server = createServer((request, response) => {
  asked = request.url;
  response.end();
});
server.listen(0, "127.0.0.1", async () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  const seen = {};
  for (const [name, send] of Object.entries(CLIENTS)) {
    seen[name] = [];
    for (const segment of [encodeURIComponent(".."), "%2e%2e"]) {
      const path = `/users/${segment}/push`;
      await send(origin, path);
      console.log(`${name.padEnd(13)} ${path.padEnd(20)} asks for ${asked}`);
      seen[name].push(asked);
    }
  }
  assert.deepEqual(seen, EXPECTED, "this is not what was seen");
  process.exit();
});
JAVASCRIPT
timeout 60 node "$work/run.js"
