// Node's `ws` with its default settings, directly at two servers.
"use strict";

const { Api, assert, eventually, place, run, token, within } = require("./check");
const { Terminal, payloads } = require("./terminal");

const [near, far] = place.servers;
const nearApi = new Api(near);
const farApi = new Api(far);
const at = (server, user) => `${server.terminals}?user=${user}`;
const dropped = (number) => JSON.stringify({ switchboard: { dropped: number } });

async function closedWith(code, terminal) {
  assert.equal((await terminal.ending()).code, code);
}

run({
  "the first frame is the hello, and its UUID is the one that is listed": async () => {
    const terminal = await Terminal.open(at(near, "hello"));
    const [listed] = await farApi.connections("hello");
    assert.equal(listed.connection, terminal.uuid);
  },

  "permessage-deflate is offered and declined": async () => {
    let offered;
    const terminal = new Terminal(at(near, "deflate"), {
      finishRequest: (request) => {
        offered = request.getHeader("Sec-WebSocket-Extensions");
        request.end();
      },
    });
    const handshake = new Promise((resolve) => terminal.socket.once("upgrade", resolve));
    const { headers } = await within(handshake, "the handshake");
    assert.match(offered, /^permessage-deflate/);
    assert.equal(headers["sec-websocket-extensions"], undefined);
    await terminal.frame();
    await farApi.pushToOne("deflate", "a".repeat(100_000));
    assert.equal(await terminal.frame(), "a".repeat(100_000));
  },

  "text and binary arrive byte for byte, from an empty frame to the largest": async () => {
    const terminal = await Terminal.open(at(near, "bytes"));
    for (const payload of payloads(place.push_bytes)) {
      await farApi.pushToOne("bytes", payload);
      const frame = await terminal.frame();
      assert.ok(typeof frame === typeof payload && Buffer.from(frame).equals(Buffer.from(payload)), payload.slice(0, 40));
    }
  },

  "one byte more than the largest push is refused, and disturbs nobody": async () => {
    const terminal = await Terminal.open(at(near, "large"));
    const answer = await farApi.send("POST", "/v1/users/large/push", Buffer.alloc(place.push_bytes + 1));
    assert.deepEqual([answer.status, answer.body.error.code], [413, "too_large"]);
    await farApi.pushToOne("large", "after it");
    assert.equal(await terminal.frame(), "after it");
  },

  "1,000 pushes through the other server keep their order": async () => {
    const terminal = await Terminal.open(at(near, "burst"));
    for (let number = 0; number < 1000; number += 1) await farApi.pushToOne("burst", `push ${number}`);
    for (let number = 0; number < 1000; number += 1) assert.equal(await terminal.frame(), `push ${number}`);
  },

  "1,000 pushes that do not wait for each other arrive once each": async () => {
    const terminal = await Terminal.open(at(near, "flood"));
    const numbers = Array.from({ length: 1000 }, (_, number) => number);
    const publishers = Array.from({ length: 10 }, () => new Api(far));
    await Promise.all(numbers.map((number) => publishers[number % 10].pushToOne("flood", String(number))));
    const frames = [];
    for (const _ of numbers) frames.push(Number(await terminal.frame()));
    assert.deepEqual(frames.sort((a, b) => a - b), numbers);
  },

  "a message of the largest size is answered, in one frame or in fragments with a ping between": async () => {
    const terminal = await Terminal.open(at(near, "fragments"));
    const { socket } = terminal;
    const largest = "m".repeat(place.frame_bytes);
    socket.send(largest);
    assert.equal(await terminal.frame(), dropped(1));

    const pong = new Promise((resolve) => socket.once("pong", (data) => resolve(String(data))));
    const third = Math.floor(place.frame_bytes / 3);
    socket.send(largest.slice(0, third), { fin: false });
    socket.ping("between");
    socket.send("", { fin: false });
    socket.send(largest.slice(third, 2 * third), { fin: false });
    socket.send(largest.slice(2 * third), { fin: true });
    assert.equal(await within(pong, "a pong"), "between");
    assert.equal(await terminal.frame(), dropped(2));

    for (let byte = 0; byte < 1000; byte += 1) socket.send(Buffer.of(byte % 256), { binary: true, fin: byte === 999 });
    assert.equal(await terminal.frame(), dropped(3));
  },

  "one byte more closes with 1009, in one frame or in fragments": async () => {
    const whole = await Terminal.open(at(near, "over"));
    whole.socket.send(Buffer.alloc(place.frame_bytes + 1));
    await closedWith(1009, whole);
    const fragments = await Terminal.open(at(near, "over"));
    fragments.socket.send(Buffer.alloc(place.frame_bytes), { fin: false });
    fragments.socket.send(Buffer.alloc(1), { fin: true });
    await closedWith(1009, fragments);
  },

  "text that is not UTF-8 closes with 1007, a broken frame with 1002": async () => {
    const text = await Terminal.open(at(near, "broken"));
    text.socket.send(Buffer.of(0x61, 0xff), { binary: false });
    await closedWith(1007, text);
    const unmasked = await Terminal.open(at(near, "broken"));
    unmasked.socket.send("no mask", { mask: false });
    await closedWith(1002, unmasked);
  },

  "the terminal's own close is echoed": async () => {
    const terminal = await Terminal.open(at(near, "leaves"));
    terminal.socket.close(4321, "enough");
    assert.deepEqual(await terminal.ending(), { code: 4321, reason: "enough" });
    await eventually("it is not listed", async () => (await farApi.connections("leaves")).length === 0);
  },

  "a kick closes with 4001, and only the one that is named": async () => {
    const [stays, goes] = [await Terminal.open(at(near, "kick")), await Terminal.open(at(near, "kick"))];
    const receipt = await farApi.kick("kick", goes.uuid);
    assert.deepEqual(receipt.terminals, [{ user: "kick", connection: goes.uuid, outcome: "written" }]);
    assert.deepEqual(await goes.ending(), { code: 4001, reason: "kicked" });
    await farApi.pushToOne("kick", "still here");
    assert.equal(await stays.frame(), "still here");
  },

  "pings are answered by the library: an idle terminal stays": async () => {
    const terminal = await Terminal.open(at(near, "idle"));
    await eventually("four pings", () => terminal.pings >= 4);
    await farApi.pushToOne("idle", "still here");
    assert.equal(await terminal.frame(), "still here");
  },

  "without answers it is closed with 4004": async () => {
    const terminal = await Terminal.open(at(near, "mute"), { autoPong: false });
    assert.deepEqual(await terminal.ending(), { code: 4004, reason: "ping timeout" });
    assert.ok(terminal.pings >= 1);
  },

  "a socket that is half closed ends, and so does its row": async () => {
    const terminal = await Terminal.open(at(near, "half"));
    terminal.socket._socket.end();
    await closedWith(1006, terminal);
    await eventually("it is not listed", async () => (await farApi.connections("half")).length === 0);
  },

  "a socket that is reset ends, and so does its row": async () => {
    const terminal = await Terminal.open(at(near, "reset"));
    terminal.socket._socket.resetAndDestroy();
    await closedWith(1006, terminal);
    await eventually("it is not listed", async () => (await farApi.connections("reset")).length === 0);
  },

  "a token counts in the header and as a subprotocol, which is answered without it": async () => {
    const api = new Api(place.tokens);
    const url = place.tokens.terminals;
    const header = await Terminal.open(url, { headers: { Authorization: `Bearer ${token("ann")}` } });
    const offered = await Terminal.open(url, { protocols: ["switchboard.v1", `bearer.${token("ann")}`] });
    assert.deepEqual([header.socket.protocol, offered.socket.protocol], ["", "switchboard.v1"]);
    assert.equal((await api.push("ann", "both")).written, 2);
    assert.deepEqual([await header.frame(), await offered.frame()], ["both", "both"]);
  },

  "a token that expires closes with 4002": async () => {
    const terminal = await Terminal.open(place.tokens.terminals, { headers: { Authorization: `Bearer ${token("short", 3)}` } });
    assert.deepEqual(await terminal.ending(), { code: 4002, reason: "token expired" });
  },

  "refusals say why": async () => {
    const code = async (url, options) => {
      const { status, headers, body } = await Terminal.refused(url, options);
      assert.equal(status === 401, /^Bearer/.test(headers["www-authenticate"]));
      assert.ok(body.error.message.length > 0);
      return `${status} ${body.error.code}`;
    };
    const url = place.tokens.terminals;
    const bearer = (value) => ({ headers: { Authorization: `Bearer ${value}` } });
    assert.equal(await code(url), "401 no_token");
    assert.equal(await code(url, bearer("nonsense")), "401 invalid_token");
    assert.equal(await code(url, bearer(token("ann", -600))), "401 token_expired");
    assert.equal(await code(url, { ...bearer(token("ann")), protocols: ["switchboard.v1", `bearer.${token("bob")}`] }), "400 bad_request");
    assert.equal(await code(near.terminals), "400 bad_request");
    assert.equal(await code(at(near, "ann"), { origin: "https://elsewhere.example" }), "403 foreign_origin");
    assert.equal(await code(`${near.terminals}/elsewhere`), "404 not_found");
    assert.equal(await code(at(near, "ann"), { protocolVersion: 8 }), "426 websocket_version");
  },

  "a server that is killed is a closed connection, and the terminal lives on at the other": async () => {
    const terminal = await Terminal.open(at(far, "crash"));
    process.kill(far.pid, "SIGKILL");
    await closedWith(1006, terminal);
    const again = await Terminal.open(at(near, "crash"));
    await eventually("the dead server's rows are dead", async () => (await nearApi.push("crash", "back")).failed === 0);
    assert.equal(await again.frame(), "back");
  },
});
