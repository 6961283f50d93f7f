// Chromium, as Debian has it, on the status page. Its terminal goes through nginx with the configuration
// of `deploy/`. Screenshots are written for people to look at.
"use strict";

const path = require("node:path");
const { chromium } = require("playwright-core");
const { Api, assert, eventually, holder, place, run, sleep, token, within } = require("./check");
const { payloads } = require("./terminal");

const [first, second] = place.servers;
const LAUNCH = {
  executablePath: process.env.FOREIGN_CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  // As a person's browser: it keeps pages that were left.
  ignoreDefaultArgs: ["--disable-back-forward-cache"],
};

let browser;
let page;
let problems = [];

/** A page in a window of its own, which must report no problem but those that a check expects. */
async function openPage(server, options = {}) {
  const context = await browser.newContext(options);
  await context.addInitScript(recordFrames);
  const opened = await context.newPage();
  opened.on("pageerror", (error) => problems.push(String(error)));
  opened.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  await opened.goto(server.api);
  return opened;
}

/** What the page has logged as problems since the last call. */
function problemsSoFar() {
  const seen = problems;
  problems = [];
  return seen;
}

const screenshot = (of, name) => of.screenshot({ path: path.join(process.env.FOREIGN_OUTPUT, `${name}.png`), fullPage: true });

async function shows(of, selector, text) {
  const found = of.locator(selector, { hasText: text }).first();
  await found.waitFor().catch(async () => {
    assert.fail(`${selector} does not show ${text}, but ${await of.locator(selector).allTextContents()}`);
  });
}

/** Runs in the page, before its own script: notes what the latest WebSocket hands to the page. */
function recordFrames() {
  window.WebSocket = class extends window.WebSocket {
    constructor(...givenByThePage) {
      super(...givenByThePage);
      const frames = [];
      window.recordedFrames = frames;
      this.addEventListener("message", ({ data }) => frames.push(data));
    }
  };
}

/** How many frames the latest WebSocket of a page has received. */
const frameCount = (of) => of.evaluate(() => window.recordedFrames.length);

/** One of them: a string, or a buffer. */
async function frame(of, index) {
  const content = await of.evaluate((at) => {
    const data = window.recordedFrames[at];
    return typeof data === "string" ? data : Array.from(new Uint8Array(data));
  }, index);
  return typeof content === "string" ? content : Buffer.from(content);
}

/** Presses Connect, waits for the hello, and gives its UUID. */
async function connect(of) {
  await of.getByRole("button", { name: "Connect", exact: true }).click();
  await shows(of, "#terminal-state", /^connected$/);
  await eventually("a hello", async () => await frameCount(of) > 0);
  const { uuid } = JSON.parse(await frame(of, 0)).switchboard.hello;
  await shows(of, "#frames li", uuid);
  return uuid;
}

async function useKey(of) {
  await of.getByLabel("API key").fill(place.key);
  await of.getByRole("button", { name: "Use key" }).click();
  await shows(of, "#instances td", "up");
}

/** Fills in whom to push to, and what. */
async function push(of, text) {
  await of.locator("#push-text").fill(text);
  await of.getByRole("button", { name: "Push", exact: true }).click();
}

let uuid;

run({
  "the page asks for a key, says that a wrong one is wrong, and shows the cluster with the right one": async () => {
    browser = await chromium.launch(LAUNCH);
    page = await openPage(first, { viewport: { width: 1100, height: 800 } });
    await page.getByLabel("API key").fill("a key of somebody else");
    await page.getByRole("button", { name: "Use key" }).click();
    await shows(page, "#key-note", "key");
    await screenshot(page, "1-wrong-key");
    await eventually("the browser reports the 401", () => problems.length > 0);
    assert.ok(problemsSoFar().every((problem) => problem.includes("401")));
    await useKey(page);
    await shows(page, "#total", "2 in all");
    await shows(page, "#ready", "ready");
    await screenshot(page, "2-before-connecting");
  },

  "a terminal connects through nginx, deflate is offered and declined, and the hello comes first": async () => {
    const network = await page.context().newCDPSession(page);
    await network.send("Network.enable");
    const handshake = new Promise((resolve) => {
      network.on("Network.webSocketHandshakeResponseReceived", ({ response }) => resolve(response));
    });
    uuid = await connect(page);
    const { requestHeaders, headers } = await within(handshake, "Chromium's view of the handshake");
    assert.match(requestHeaders["Sec-WebSocket-Extensions"], /permessage-deflate/);
    assert.ok(!Object.keys(headers).some((name) => name.toLowerCase() === "sec-websocket-extensions"));
    const [listed] = await new Api(second).connections("ann");
    assert.equal(listed.connection, uuid);
  },

  "what the page pushes arrives on the page, and the receipt says so": async () => {
    await push(page, "Hello from the page, ümlaut, \u{1f44d}");
    await shows(page, "#frames li", "Hello from the page, ümlaut, \u{1f44d}");
    await shows(page, "#push-state", "1 written, 0 queued, 0 failed");
    await shows(page, "#receipt", uuid);
    await new Api(second).pushToOne("ann", Buffer.of(0, 1, 254, 255));
    await shows(page, "#frames li", "binary, 4 bytes: 00 01 fe ff");
  },

  "markup in a push is text": async () => {
    await push(page, "<img src=x onerror=alert(1)><b>bold</b>");
    await shows(page, "#frames li", "<img src=x onerror=alert(1)><b>bold</b>");
    assert.equal(await page.locator("#frames img, #frames b").count(), 0);
  },

  "the page's terminal joins a topic, is listed, gets what is pushed to it, and leaves": async () => {
    await page.getByRole("button", { name: "Join" }).click();
    await shows(page, "#frames li", "{\"switchboard\":{\"joined\":{\"topic\":\"news\"}}}");
    await page.getByRole("button", { name: "Members", exact: true }).click();
    await shows(page, "#topic-state", /^1 member$/);
    await shows(page, "#topic-members li", uuid);
    await page.locator("#topic-text").fill("to members, <b>not bold</b>");
    await page.getByRole("button", { name: "Push to members" }).click();
    await shows(page, "#frames li", "to members, <b>not bold</b>");
    await shows(page, "#topic-state", "1 written, 0 queued, 0 failed, at 1 instance");
    await screenshot(page, "3-a-topic");
    await page.getByRole("button", { name: "Leave" }).click();
    await shows(page, "#frames li", "{\"switchboard\":{\"left\":{\"topic\":\"news\"}}}");
    await page.getByRole("button", { name: "Push to members" }).click();
    await shows(page, "#topic-state", "no member is known");
  },

  "what the page sends is answered": async () => {
    await page.locator("#message").fill("hello back");
    await page.getByRole("button", { name: "Send" }).click();
    await shows(page, "#frames li", "{\"switchboard\":{\"dropped\":1}}");
    await screenshot(page, "3-connected-and-pushed");
  },

  "text and binary arrive byte for byte, from an empty frame to the largest": async () => {
    const api = new Api(second);
    for (const payload of payloads(place.push_bytes)) {
      const before = await frameCount(page);
      await api.pushToOne("ann", payload);
      await eventually("the frame", async () => await frameCount(page) > before);
      const arrived = await frame(page, before);
      assert.ok(typeof arrived === typeof payload && Buffer.from(arrived).equals(Buffer.from(payload)), payload.slice(0, 40));
    }
  },

  "1,000 pushes keep their order, and the page shows the last of them": async () => {
    const before = await frameCount(page);
    const api = new Api(second);
    for (let number = 0; number < 1000; number += 1) await api.pushToOne("ann", `push ${number}`);
    await eventually("all of them", async () => await frameCount(page) === before + 1000);
    const arrived = await page.evaluate((from) => window.recordedFrames.slice(from), before);
    assert.deepEqual(arrived, Array.from({ length: 1000 }, (_, number) => `push ${number}`));
    await shows(page, "#frames li:last-child", "push 999");
    assert.equal(await page.locator("#frames li").count(), 200);
  },

  "an idle page outlives nginx's 60 s by the pings of the server": async () => {
    const api = new Api(second);
    await sleep(place.idle_seconds * 1000);
    await shows(page, "#terminal-state", /^connected$/);
    await api.pushToOne("ann", "still here");
    await shows(page, "#frames li", "still here");
    await shows(page, "#instances td", "up");
    await screenshot(page, "4-after-a-burst-and-an-idle-minute");
  },

  "a page that is left ends its terminal, though the browser keeps the page": async () => {
    const api = new Api(second);
    await page.goto(`${first.api}/health/live`);
    await eventually("its terminal is gone", async () => (await api.connections("ann")).length === 0);
    page.goBack().catch(() => {}); // It waits for a load, and a page that was kept is not loaded.
    await shows(page, "#terminal-state", "closed (1000)");
    uuid = await connect(page);
  },

  "a terminal that follows the log comes back when it is cut, and misses no durable push": async () => {
    await page.getByRole("button", { name: "Disconnect" }).click();
    await shows(page, "#terminal-state", "closed (1000)");
    await page.getByLabel(/Follow the log/).check();
    await page.getByLabel(/Durable/).check();
    await connect(page);
    await shows(page, "#log-note", "begins here");
    await push(page, "a record");
    await shows(page, "#frames li", /[0-9a-f]{22} a record/);
    const held = await page.locator("#position").textContent();
    await page.getByRole("button", { name: /Cut/ }).click();
    await shows(page, "#log-note", "comes back in 5.0 s");
    // It comes back as who it was: bob's log does not know ann's positions.
    const user = page.locator("#connect-user");
    await user.fill("bob");
    await push(page, "while it was away");
    await shows(page, "#push-state", "0 written, 0 queued, 0 failed (nobody is connected)");
    await shows(page, "#log-note", "resumed: nothing is missing");
    await shows(page, "#frames li", /[0-9a-f]{22} while it was away/);
    assert.notEqual(await page.locator("#position").textContent(), held);
    await user.fill("ann");
    await screenshot(page, "10-follows-the-log");
    await page.getByRole("button", { name: "Disconnect" }).click();
    await shows(page, "#terminal-state", "closed (1000)");
    await page.getByLabel(/Follow the log/).uncheck();
    await page.getByLabel(/Durable/).uncheck();
    uuid = await connect(page);
  },

  "a kick from the page closes it with 4001, and it connects again": async () => {
    await page.getByRole("button", { name: "Connections" }).click();
    await shows(page, "#connections li", uuid);
    await screenshot(page, "5-connections");
    await page.getByRole("button", { name: "Kick" }).click();
    await shows(page, "#terminal-state", "closed (4001)");
    await shows(page, "#frames li", "closed with 4001: kicked");
    await eventually("the row goes", async () => await page.locator("#connections li").count() === 0);
    await screenshot(page, "6-kicked");
    const kicked = uuid;
    uuid = await connect(page);
    assert.notEqual(uuid, kicked);
  },

  "a drain closes it with 1012, and the other upstream takes it": async () => {
    const { held, other } = await holder("ann");
    process.kill(held.pid, "SIGTERM");
    await shows(page, "#terminal-state", "closed (1012)");
    // The page itself came from one of the two: the other one's page goes on.
    const left = other === first ? page : await openPage(second);
    if (left !== page) await useKey(left);
    uuid = await connect(left);
    await new Api(other).pushToOne("ann", "from the one that stays");
    await shows(left, "#frames li", "from the one that stays");
  },

  "a page whose server has gone says so": async () => {
    try {
      process.kill(first.pid, "SIGKILL");
    } catch (error) {
      assert.equal(error.code, "ESRCH", "it was drained");
    }
    await shows(page, "#instances-note", "the server does not answer");
    await shows(page, "#ready", "no answer");
    await screenshot(page, "7-server-gone");
    problemsSoFar(); // Chromium reports requests to a server that has gone.
    await page.close();
  },

  "with tokens the page asks for one, says that a wrong one is refused, and is closed when it expires": async () => {
    const tokens = await openPage(place.tokens, { colorScheme: "dark", viewport: { width: 1100, height: 800 } });
    await useKey(tokens);
    await tokens.getByLabel("Token").fill("nonsense");
    await tokens.getByRole("button", { name: "Connect", exact: true }).click();
    await shows(tokens, "#terminal-state", "closed (1006)");
    assert.match(problemsSoFar().join(), /WebSocket connection .* failed/);
    await tokens.getByLabel("Token").fill(token("ann", 5));
    await connect(tokens);
    await push(tokens, "in the dark");
    await shows(tokens, "#frames li", "in the dark");
    await shows(tokens, "#terminal-state", "closed (4002)");
    await screenshot(tokens, "8-dark-token-expired");
  },

  "a telephone shows all of it": async () => {
    const phone = await openPage(place.tokens, { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 });
    await useKey(phone);
    await phone.getByLabel("Token").fill(token("ann"));
    await connect(phone);
    await push(phone, "in the pocket");
    await shows(phone, "#frames li", "in the pocket");
    await phone.getByRole("button", { name: "Connections" }).click();
    await shows(phone, "#connections li", "Kick");
    const overhang = await phone.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overhang <= 0, `${overhang} pixels to the right of the screen`);
    await screenshot(phone, "9-telephone");
  },

  "no page has reported a problem": async () => {
    assert.deepEqual(problemsSoFar(), []);
  },
}, () => browser?.close());
