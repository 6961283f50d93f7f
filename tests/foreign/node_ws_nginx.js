// Node's `ws` behind nginx with its default timeouts.
"use strict";

const { Api, assert, eventually, holder, place, run, sleep } = require("./check");
const { Terminal, payloads } = require("./terminal");

const url = (user) => `${place.nginx}?user=${user}`;

run({
  "an idle terminal outlives nginx's 60 s by the pings of the server": async () => {
    const terminal = await Terminal.open(url("idle"));
    await sleep(place.idle_seconds * 1000);
    assert.ok(terminal.pings >= 2, `${terminal.pings} pings`);
    await new Api(place.servers[1]).pushToOne("idle", "still here");
    assert.equal(await terminal.frame(), "still here");
  },

  "payloads arrive byte for byte through nginx": async () => {
    const terminal = await Terminal.open(url("bytes"));
    const api = new Api(place.servers[0]);
    for (const payload of payloads(place.push_bytes)) {
      await api.pushToOne("bytes", payload);
      const frame = await terminal.frame();
      assert.ok(typeof frame === typeof payload && Buffer.from(frame).equals(Buffer.from(payload)), payload.slice(0, 40));
    }
  },

  "kicks and refusals pass through nginx": async () => {
    const terminal = await Terminal.open(url("kick"));
    await new Api(place.servers[0]).kick("kick", terminal.uuid);
    assert.deepEqual(await terminal.ending(), { code: 4001, reason: "kicked" });
    const { status, body } = await Terminal.refused(place.nginx);
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
    await eventually("1,000 pushes after it", () => pushed.length >= first + 1000);
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

  "a server that has gone is not missed: nginx goes on to the other": async () => {
    for (let times = 0; times < 10; times += 1) (await Terminal.open(url("again"))).socket.terminate();
  },
});
