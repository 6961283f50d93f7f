// The chat of docs/chat in Chromium, behind nginx with the configuration of `deploy/`: servers are killed and drained
// while people talk.
"use strict";

const { spawn } = require("node:child_process");
const { mkdirSync, mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { Person, launch } = require("./chat");
const { Api, assert, eventually, place, run, sleep, token } = require("./check");
const { restart } = require("./durable");

const ROOM = ["ann", "bob", "cat"];
const site = `http://${place.addresses[0]}`;
const proxy = new URL(place.proxy.url).host;
const folder = mkdtempSync(path.join(tmpdir(), "switchboard-chat-"));
writeFileSync(path.join(folder, "jwt-secret"), place.tokens.secret);
writeFileSync(path.join(folder, "api-keys"), place.key);

const backend = spawn("node", [path.join(__dirname, "../../docs/chat/backend.mjs")], {
  cwd: folder,
  env: {
    ...process.env,
    PORT: new URL(site).port,
    SWITCHBOARD: `http://${proxy}`,
    API: place.servers.map(({ api }) => api).join(","),
    CENTRIFUGE: path.join(path.dirname(require.resolve("centrifuge")), "../dist/centrifuge.js"),
  },
  stdio: ["ignore", "inherit", "inherit"],
});

let browser;
let people;
const said = [];

/** Each says something in turns, until it is to stop. */
async function talk(until) {
  for (let number = said.length; !until(); number += 1) {
    const user = ROOM[number % ROOM.length];
    await people[number % ROOM.length].say(`message ${number}`);
    said.push([user, `message ${number}`]);
    await sleep(200);
  }
}

/** All see all, in the same order, and nothing twice. Who said something while a server was killed may be overtaken. */
async function allSeeAll() {
  const expected = JSON.stringify([...said].sort());
  for (const person of people) {
    await eventually("all is shown", async () => (await person.said()).length >= said.length);
    assert.equal(JSON.stringify((await person.said()).sort()), expected);
  }
  const [first, ...others] = await Promise.all(people.map((person) => person.said()));
  for (const other of others) assert.deepEqual(other, first);
}

async function talkWhile(what) {
  let over = false;
  const talking = talk(() => over);
  await sleep(1000);
  await what().finally(() => { over = true; });
  await sleep(1000);
  await talking;
  await allSeeAll();
}

async function screenshot(name) {
  mkdirSync(process.env.FOREIGN_OUTPUT, { recursive: true });
  await people[0].page.screenshot({ path: path.join(process.env.FOREIGN_OUTPUT, `chat_${name}.png`) });
}

const connections = async () => {
  const listed = await Promise.all(ROOM.map((user) => new Api(place.servers[0]).connections(user)));
  return listed.flat().map(({ connection }) => connection);
};

/** Talks while servers are killed and drained, each more than once. */
async function throughEverything(transport) {
  const before = await connections();
  for (const person of people) assert.match(await person.state(), new RegExp(`connected by ${transport}`));
  for (const [number, signal] of [[0, "SIGKILL"], [1, "SIGTERM"], [1, "SIGKILL"], [0, "SIGTERM"]]) {
    await talkWhile(async () => {
      process.kill(place.servers[number].pid, signal);
      await sleep(3000);
      await restart(number);
      await sleep(1000);
    });
  }
  for (const person of people) await eventually("it is connected again", () => person.isConnected());
  const after = await connections();
  assert.ok(before.length >= ROOM.length && !before.some((each) => after.includes(each)), "nobody has stayed connected");
}

run({
  "nothing is lost over WebSockets while servers are killed and drained": async () => {
    await eventually("the backend listens", () => fetch(`${site}/config`).then(() => true, () => false));
    browser = await launch();
    people = await Promise.all(ROOM.map((user) => Person.at(browser, site, user)));
    await throughEverything("websocket");
    await screenshot("websocket");
  },

  "a page that was left shows what was said meanwhile when it is shown again": async () => {
    const { page } = people[2];
    await page.goto(`${site}/elsewhere`);
    await people[0].say("are you there?");
    said.push(["ann", "are you there?"]);
    await eventually("the others see it", async () => (await people[1].said()).length === said.length);
    page.goBack().catch(() => {}); // It waits for a load, and a page that was kept is not loaded.
    await eventually("it is back", () => people[2].isConnected().catch(() => false));
    await allSeeAll();
  },

  "nor over HTTP, where no WebSocket gets through": async () => {
    for (const person of people) await person.page.close();
    said.length = 0;
    people = await Promise.all(ROOM.map((user) => {
      return Person.at({ newPage: withoutWebSockets }, site, user);
    }));
    await throughEverything("http_stream");
    await screenshot("http_stream");
  },

  "the browser's own event streams carry both protocols": async () => {
    const { page } = people[0];
    const found = await page.evaluate(async ({ proxy, token }) => {
      const endpoint = `http://${proxy}/connection/sse`;
      const centrifuge = new Centrifuge([{ transport: "sse", endpoint }], {
        emulationEndpoint: `http://${proxy}/emulation`, token,
      });
      const connected = new Promise((resolve) => { centrifuge.on("connected", resolve); });
      centrifuge.connect();
      const { transport, client } = await connected;
      // It is refused while it is in doubt who is there.
      const presence = () => centrifuge.presence("#dan").catch(async (error) => {
        if (error.code !== 100) throw error;
        await new Promise((resolve) => { setTimeout(resolve, 100); });
        return presence();
      });
      const { clients } = await presence();
      const query = new URLSearchParams({ cf_connect: JSON.stringify({ token }) });
      const source = new EventSource(`http://${proxy}/connection/uni_sse?${query}`);
      const { connect } = await new Promise((resolve) => { source.onmessage = ({ data }) => resolve(JSON.parse(data)); });
      const published = new Promise((resolve) => { centrifuge.on("publication", resolve); });
      const pushed = new Promise((resolve) => { source.onmessage = ({ data }) => resolve(JSON.parse(data)); });
      window.both = Promise.all([published, pushed]).then(([{ data }, push]) => [data, push.pub.data]);
      return { transport, others: Object.keys(clients).filter((each) => each !== client), listens: connect.client !== client };
    }, { proxy, token: token("dan") });
    assert.deepEqual(found, { transport: "sse", others: [], listens: true });
    await new Api(place.servers[1]).push("dan", '"to both"');
    assert.deepEqual(await page.evaluate(() => window.both), ["to both", "to both"]);
  },
}, async () => {
  await browser?.close();
  backend.kill();
  rmSync(folder, { recursive: true });
});

async function withoutWebSockets() {
  const page = await browser.newPage();
  await page.addInitScript(() => {
    // As behind a proxy that knows none: the handshake is answered with an error.
    const { WebSocket } = window;
    window.WebSocket = class extends WebSocket {
      constructor(url, protocols) {
        super(url.replace("/connection/websocket", "/elsewhere"), protocols);
      }
    };
  });
  return page;
}
