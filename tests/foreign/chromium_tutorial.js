// Each command of docs/chat.md, and the page that stands there then, in Chromium.
"use strict";

const { execFile, spawn } = require("node:child_process");
const { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } = require("node:fs");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { promisify } = require("node:util");
const { Person, launch } = require("./chat");
const { assert, eventually, place, run } = require("./check");

const DOCS = path.join(__dirname, "../../docs");
const [listen, api, peer, chat] = place.addresses;

/** A checkout, as far as the commands see one. */
const folder = mkdtempSync(path.join(tmpdir(), "switchboard-tutorial-"));
mkdirSync(path.join(folder, "target/release"), { recursive: true });
symlinkSync(DOCS, path.join(folder, "docs"));
symlinkSync(path.resolve(place.executable), path.join(folder, "target/release/switchboard"));

/** Addresses in use instead of those that the page names, and that others may have. */
const env = {
  ...process.env,
  SWITCHBOARD_LISTEN: listen,
  SWITCHBOARD_API: api,
  SWITCHBOARD_PEER: peer,
  SWITCHBOARD: `http://${listen}`,
  API: `http://${api}`,
  PORT: chat.split(":")[1],
};
const inUse = (command) => command.replaceAll("127.0.0.1:8081", api).replaceAll("127.0.0.1:3000", chat);

const tutorial = readFileSync(path.join(DOCS, "chat.md"), "utf8");

/** The commands of the page, in their order, each with what its block says about it. */
const blocks = [...tutorial.matchAll(/^```sh *(.*)\n([^]*?)^```$/gm)]
  .map(([, how, command]) => ({ how, command: inUse(command) }));

/** What a section has for the page in the browser. */
const script = (heading) => tutorial.split(`\n## ${heading}\n`)[1].split("\n## ")[0].match(/^```js\n([^]*?)^```$/m)[1];

const running = new Map();

function end(name) {
  const child = running.get(name);
  if (!child) return undefined;
  const ended = new Promise((resolve) => { child.once("exit", resolve); });
  process.kill(-child.pid, "SIGTERM");
  return child.exitCode ?? ended;
}

const shell = (command) => promisify(execFile)("bash", ["-c", `set -euo pipefail\n${command}`], { cwd: folder, env });

async function execute({ how, command }) {
  // What is built is there.
  if (how === "") return shell(command.replace("cargo build --release", ""));
  if (how === "eventually") return eventually(command, () => shell(command).then(() => true, () => false));
  const [background, name = "server"] = how.split(" ");
  assert.equal(background, "background");
  await end(name);
  const child = spawn("bash", ["-c", command], { cwd: folder, env, detached: true, stdio: ["ignore", "inherit", "inherit"] });
  running.set(name, child);
  if (command.includes("--namespaces")) return writeInARoom();
  if (name !== "backend") return undefined;
  const config = () => fetch(`http://${chat}/config`).then((answer) => answer.json());
  await eventually("the backend listens", () => config().then(() => true, () => false));
  // One is given the address of a proxy that there is not.
  if ((await config()).switchboard === env.SWITCHBOARD) await talk();
  return undefined;
}

let browser;

/** Two people on the page. */
async function talk() {
  browser ??= await launch();
  const people = await Promise.all(["ann", "bob"].map((user) => Person.at(browser, `http://${chat}`, user)));
  const said = [["ann", "Hello Bob"], ["bob", "Hello <b>Ann</b>"], ["ann", "\u{1f44b}"]];
  for (const [number, [user, text]] of said.entries()) {
    await people[user === "ann" ? 0 : 1].say(text);
    for (const person of people) {
      await eventually("it is shown", async () => (await person.said()).length === number + 1);
    }
  }
  for (const person of people) {
    assert.deepEqual(await person.said(), said);
    await person.page.close();
  }
  talks += 1;
}

let talks = 0;

/** Two people who publish themselves: what the page of the tutorial does, and what it does in a room. */
async function writeInARoom() {
  const ready = blocks.find(({ command }) => command.includes("/health/ready"));
  await execute(ready);
  const both = script("The page").replace("127.0.0.1:8080", listen) + script("Rooms that clients write to");
  const pages = [];
  for (const user of ["ann", "bob"]) {
    const page = await browser.newPage();
    await page.goto(`http://${chat}/?user=${user}`);
    await page.evaluate(([code, name]) => {
      globalThis.shown = [];
      const post = (where, body) => fetch(where, { method: "POST", body: JSON.stringify(body) });
      const Act = (async () => {}).constructor;
      return new Act("user", "post", "show", code)(name, post, (data) => globalThis.shown.push(data));
    }, [both, user]);
    pages.push(page);
  }
  // Bob is given what was said before he came.
  const said = { user: "ann", text: "Hello" };
  for (const page of pages) {
    const shown = () => page.evaluate(() => globalThis.shown);
    await eventually("both publications", async () => (await shown()).length === 2);
    assert.deepEqual(await shown(), [said, said]);
    await page.close();
  }
  rooms += 1;
}

let rooms = 0;

const all = {};
for (const [number, block] of blocks.entries()) {
  all[`${number + 1}. ${block.command.trim().split("\n")[0]}`] = () => execute(block);
}
all["people have talked by each backend"] = () => {
  assert.ok(blocks.length > 8, "there are commands");
  assert.deepEqual([talks, rooms], [2, 1]);
};

run(all, async () => {
  await browser?.close();
  await Promise.all([...running.keys()].map(end));
  rmSync(folder, { recursive: true });
});
