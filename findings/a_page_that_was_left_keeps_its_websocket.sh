#!/usr/bin/env bash
# Chromium and a page with an open WebSocket, from which a person goes on to another page.
#
# A good guess: the connection ends with its page, or at the latest when the page's scripts are stopped.
# What happens: the page goes into the back/forward cache with its WebSocket open. Its scripts stand
# still, and the browser answers the server's pings for it, so that the server takes it for well. What is
# sent meanwhile is taken off the socket and reaches no script, also if the person comes back: then the
# page gets a close event (1006), and the server Close 1001. A page that closes its WebSocket in
# `pagehide` ends it at once.
# Seen with Chromium 156 of Debian 12, by playwright-core 1.58.2 (which turns that cache off, unless told
# otherwise) and ws 8.23.0.
set -euo pipefail
for program in chromium node npm; do
    command -v "$program" >/dev/null || { echo "needed: $program" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
timeout 300 npm install --prefix "$work" --ignore-scripts --no-audit --no-fund --silent playwright-core@1.58.2 ws@8.23.0

cat >"$work/run.js" <<'JAVASCRIPT'
const assert = require("node:assert/strict");
const { createServer } = require("node:http");
const { chromium } = require("playwright-core");
const { WebSocketServer } = require("ws");

const PAGE = `<script>
  const closing = location.search === "?closing";
  window.messages = [];
  window.socket = new WebSocket("ws://" + location.host);
  socket.onmessage = ({ data }) => messages.push(data);
  socket.onclose = ({ code }) => { window.ending = code; };
  if (closing) addEventListener("pagehide", () => socket.close());
</script>`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function eventually(what, find) {
  for (let times = 0; times < 200; times += 1) {
    const found = await find();
    if (found) return found;
    await sleep(50);
  }
  throw new Error(`this did not come true: ${what}`);
}

/** Opens the page, leaves it for 5 s, comes back, and tells what both sides saw. */
async function leave(browser, origin, server, query) {
  const connected = new Promise((resolve) => server.once("connection", resolve));
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${origin}/app${query}`);
  const socket = await connected;
  const seen = { pongs: 0, written: false, code: null };
  socket.on("pong", () => { seen.pongs += 1; });
  socket.on("close", (code) => { seen.code = code; });

  await page.goto(`${origin}/elsewhere`);
  await sleep(500);
  for (let times = 0; times < 5; times += 1) {
    if (socket.readyState === socket.OPEN) {
      socket.ping();
      socket.send(`number ${times}`, (error) => { seen.written = !error; });
    }
    await sleep(1000);
  }
  const away = { ...seen };
  page.goBack().catch(() => {}); // It waits for a load, and a page from the cache is not loaded.
  const restored = await eventually("the page is back", () => page.evaluate(() => (
    window.ending ? { messages: window.messages, code: window.ending } : null
  )).catch(() => null));
  await eventually("the server has seen the end", () => seen.code);
  return { away, restored, code: seen.code };
}

(async () => {
  const http = createServer((request, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end(request.url.startsWith("/app") ? PAGE : "elsewhere");
  });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const server = new WebSocketServer({ server: http });
  const browser = await chromium.launch({
    executablePath: process.argv[2],
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
  const origin = `http://127.0.0.1:${http.address().port}`;
  const kept = await leave(browser, origin, server, "");
  console.log("as it is:   ", JSON.stringify(kept));
  const closing = await leave(browser, origin, server, "?closing");
  console.log("in pagehide:", JSON.stringify(closing));
  await browser.close();
  assert.deepEqual(kept.away, { pongs: 5, written: true, code: null }, "this is not what was seen");
  assert.deepEqual(kept.restored, { messages: [], code: 1006 }, "this is not what was seen");
  assert.equal(kept.code, 1001, "this is not what was seen");
  assert.deepEqual(closing.away, { pongs: 0, written: false, code: 1005 }, "this is not what was seen");
  process.exit();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
JAVASCRIPT
timeout 120 node "$work/run.js" "$(command -v chromium)"
