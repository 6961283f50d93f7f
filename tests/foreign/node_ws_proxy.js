// Node's `ws` behind a proxy with the configuration of `deploy/`.
"use strict";

const { execFileSync } = require("node:child_process");
const { Api, assert, eventually, holder, place, run, sleep } = require("./check");
const { Terminal, payloads } = require("./terminal");

const url = (user) => `${place.proxy.url}?user=${user}`;
const direct = (server, user) => `${server.terminals}?user=${user}`;

/** The sum of a server's samples of this name that have these labels. */
async function metric(server, name, labels = "") {
  const text = await (await fetch(`${server.api}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) && line.includes(labels));
  assert.ok(lines.length > 0, `no ${name} with ${labels}`);
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** How many terminals of both servers have gone for this reason. */
async function gone(reason) {
  const counts = place.servers.map((server) => metric(server, "switchboard_terminals_gone_total", `reason="${reason}"`));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count);
}

/** Terminals that come one after the other through the proxy, and where each is. */
async function arrivals(user, count) {
  const api = new Api(place.servers[0]);
  const terminals = [];
  for (let times = 0; times < count; times += 1) terminals.push(await Terminal.open(url(user)));
  const listed = await api.connections(user);
  const instances = terminals.map(({ uuid }) => listed.find(({ connection }) => connection === uuid).instance);
  for (const { socket } of terminals) socket.close();
  await eventually("they are gone", async () => (await api.connections(user)).length === 0);
  return instances;
}

run({
  "an idle terminal outlives the timeouts of the proxy by the pings of the server": async () => {
    const terminal = await Terminal.open(url("idle"));
    await sleep(place.idle_seconds * 1000);
    assert.ok(terminal.pings >= 2, `${terminal.pings} pings`);
    await new Api(place.servers[1]).pushToOne("idle", "still here");
    assert.equal(await terminal.frame(), "still here");
  },

  "payloads arrive byte for byte through the proxy": async () => {
    const terminal = await Terminal.open(url("bytes"));
    const api = new Api(place.servers[0]);
    for (const payload of payloads(place.push_bytes)) {
      await api.pushToOne("bytes", payload);
      const frame = await terminal.frame();
      assert.ok(typeof frame === typeof payload && Buffer.from(frame).equals(Buffer.from(payload)), payload.slice(0, 40));
    }
  },

  "kicks and refusals pass through the proxy": async () => {
    const terminal = await Terminal.open(url("kick"));
    await new Api(place.servers[0]).kick("kick", terminal.uuid);
    assert.deepEqual(await terminal.ending(), { code: 4001, reason: "kicked" });
    const { status, body } = await Terminal.refused(place.proxy.url);
    assert.deepEqual([status, body.error.code], [400, "bad_request"]);
  },

  "a terminal that does not read loses its connection with 4003, and finds it out when it reads": async () => {
    const terminal = await Terminal.open(url("slow"));
    terminal.socket.pause();
    const api = new Api(place.servers[0]);
    let outcome;
    for (let pushes = 0; outcome !== "overflow"; pushes += 1) {
      assert.ok(pushes < 100, "100 MiB wait somewhere");
      const { terminals } = await api.push("slow", Buffer.alloc(place.push_bytes), "300ms");
      [{ outcome }] = terminals;
    }
    terminal.socket.resume();
    assert.deepEqual(await terminal.ending(), { code: 4003, reason: "slow consumer" });
  },

  "a socket that is half closed ends, and so does its row": async () => {
    const terminal = await Terminal.open(url("half"));
    terminal.socket._socket.end();
    assert.equal((await terminal.ending()).code, 1006);
    const api = new Api(place.servers[0]);
    await eventually("it is not listed", async () => (await api.connections("half")).length === 0);
  },

  [place.proxy.reload_keeps_terminals
    ? "a reload of the proxy keeps its terminals, and takes new ones"
    : "a reload of the proxy ends its terminals as one that goes away, and takes new ones"]: async () => {
    const api = new Api(place.servers[0]);
    const byTerminals = await gone("by_terminal");
    const before = await Terminal.open(url("reload"));
    const [command, ...args] = place.proxy.reload;
    execFileSync(command, args, { stdio: "ignore" });
    const connected = async () => Terminal.open(url("new")).catch(() => null);
    const after = await eventually("the proxy takes terminals", connected);
    await api.pushToOne("new", "to the new one");
    assert.equal(await after.frame(), "to the new one");
    if (place.proxy.reload_keeps_terminals) {
      await api.pushToOne("reload", "to the old one");
      assert.equal(await before.frame(), "to the old one");
      before.socket.close();
    } else {
      assert.equal((await before.ending()).code, 1001);
    }
    await eventually("it is not listed", async () => (await api.connections("reload")).length === 0);
    // Whoever says goodbye has broken no protocol.
    await eventually("it is counted", async () => await gone("by_terminal") > byTerminals);
    assert.equal(await gone("protocol_error"), 0);
  },

  "one server is full, then the other: each terminal comes to the one that has room": async () => {
    const instances = await Promise.all(place.servers.map((server) => new Api(server).instance()));
    for (const [full, free] of [[0, 1], [1, 0], [0, 1]]) {
      const filling = [];
      let refused = null;
      while (!refused) {
        assert.ok(filling.length <= place.connections, "the server is never full");
        const target = direct(place.servers[full], `filling${full}`);
        try {
          filling.push(await Terminal.open(target));
        } catch (error) {
          refused = error;
        }
      }
      assert.match(refused.message, /503/);
      assert.deepEqual(await arrivals("moving", 6), Array(6).fill(instances[free]));
      for (const { socket } of filling) socket.terminate();
      await eventually("there is room", async () => await metric(place.servers[full], "switchboard_connections") < place.connections / 2);
    }
  },

  "after a drain the other upstream has the terminal, and loses nothing pushed after its hello": async () => {
    const before = await Terminal.open(url("drain"));
    const { held, other } = await holder("drain");
    const api = new Api(other);
    const pushed = [];
    let stop = false;
    const publisher = (async () => {
      for (let number = 0; !stop; number += 1) {
        pushed.push({ number, receipt: await api.push("drain", String(number)) });
      }
    })();

    await before.frame();
    process.kill(held.pid, "SIGTERM");
    assert.deepEqual(await before.ending(), { code: 1012, reason: "service restart" });
    const after = await Terminal.open(url("drain"));
    const first = pushed.length + 1; // One may be under way: it was handed in before the hello was read.
    await eventually("300 pushes after it", () => pushed.length >= first + 300);
    stop = true;
    await publisher;

    const listed = (await api.connections("drain")).find(({ connection }) => connection === after.uuid);
    assert.equal(listed.instance, await api.instance());
    const last = pushed.length - 1;
    const frames = [];
    do frames.push(Number(await after.frame())); while (frames.at(-1) !== last);
    assert.ok(frames[0] <= first, `${frames[0]} is the first of those after ${first}`);
    assert.deepEqual(frames, Array.from(frames, (_, index) => frames[0] + index), "in order, without a gap, none twice");
    const written = pushed.slice(first).map(({ receipt }) => receipt.written);
    assert.ok(written.every((count) => count >= 1));
  },

  "a server that has gone is not missed: the proxy goes on to the other": async () => {
    for (let times = 0; times < 10; times += 1) (await Terminal.open(url("again"))).socket.terminate();
  },
});
