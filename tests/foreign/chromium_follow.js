// The example clients of docs/clients on a page in Chromium, behind a proxy with the configuration of `deploy/`.
"use strict";

const { readFileSync } = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { chromium } = require("playwright-core");
const { Api, assert, eventually, place, run } = require("./check");
const { number, pushUntilAcked, pushLogged, pushWhileServersAreKilled, upTo } = require("./durable");

const EXAMPLES = ["/follow.mjs", "/short.mjs"];
const script = (name) => readFileSync(path.join(__dirname, "../../docs/clients", name));

const PAGE = `<!doctype html><meta charset="utf-8"><script type="module">
  import { follow } from "/follow.mjs";
  import { follow as followShortly } from "/short.mjs";
  const got = window.got = { records: [], missing: 0 };
  const short = window.short = { records: [], missing: 0 };
  followShortly(${JSON.stringify(`${place.proxy.url}?user=bob`)}, {
    record: (data) => short.records.push(typeof data === "string" ? data : Array.from(new Uint8Array(data))),
    missing: () => { short.missing += 1; },
  });
  const follower = follow(${JSON.stringify(`${place.proxy.url}?user=ann`)}, {
    record: (data) => got.records.push(typeof data === "string" ? data : Array.from(new Uint8Array(data))),
    missing: () => { got.missing += 1; },
  });
  addEventListener("pagehide", follower.stop);
  addEventListener("pageshow", ({ persisted }) => { if (persisted) follower.start(); });
</script>`;

const site = http.createServer((request, response) => {
  const example = EXAMPLES.includes(request.url);
  response.setHeader("Content-Type", example ? "text/javascript" : "text/html");
  response.end(example ? script(request.url) : request.url === "/" ? PAGE : "elsewhere");
});

let browser;
let page;

/** What the page was handed, from this record on. */
async function records(from, of = "got") {
  const got = await page.evaluate(([name, start]) => window[name].records.slice(start), [of, from]);
  return got.map((data) => (typeof data === "string" ? data : Buffer.from(data)));
}

const count = (of = "got") => page.evaluate((name) => window[name].records.length, of);
const connections = async (user = "ann") => (await new Api(place.servers[0]).connections(user)).length;

let all;

run({
  "each record comes once and in its order while servers are killed and started again": async () => {
    await new Promise((resolve) => { site.listen(0, "127.0.0.1", resolve); });
    browser = await chromium.launch({
      executablePath: process.env.FOREIGN_CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
      // As a person's browser: it keeps pages that were left.
      ignoreDefaultArgs: ["--disable-back-forward-cache"],
    });
    page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${site.address().port}/`);
    await eventually("it is connected", async () => await connections() === 1);
    await eventually("the short one is connected", async () => await connections("bob") === 1);
    const [ofAnn, ofBob] = await pushWhileServersAreKilled(["ann", "bob"]);
    all = ofAnn;
    await eventually("the last record", async () => await count() >= all);
    assert.deepEqual((await records(0)).map(number), upTo(all));
    await eventually("the last record of the short one", async () => await count("short") >= ofBob);
    assert.deepEqual((await records(0, "short")).map(number), upTo(ofBob));
    assert.equal(await page.evaluate(() => window.short.missing), 0);
  },

  "what it has taken it confirms": async () => {
    assert.equal(await pushUntilAcked("ann", "confirmed"), 1);
    all += 1;
    assert.equal(await count(), all);
  },

  "a page that was left gets what came meanwhile when it is shown again": async () => {
    await page.goto(`http://127.0.0.1:${site.address().port}/elsewhere`);
    await eventually("its terminal is gone", async () => await connections() === 0);
    await pushLogged("ann", "meanwhile");
    page.goBack().catch(() => {}); // It waits for a load, and a page that was kept is not loaded.
    await eventually("it is back", async () => await connections() === 1);
    await eventually("the record", async () => await count() > all);
    assert.deepEqual(await records(all), ["meanwhile"]);
    assert.equal(await page.evaluate(() => window.got.missing), 0);
  },
}, async () => {
  await browser?.close();
  site.close();
});
