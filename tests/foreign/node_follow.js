// The example clients of docs/clients in Node, on `ws`, behind a proxy with the configuration of `deploy/`.
"use strict";

const WebSocket = require("ws");
const { Api, assert, eventually, place, run, within } = require("./check");
const { number, pushLogged, pushUntilAcked, pushWhileServersAreKilled, upTo } = require("./durable");

const example = import("../../docs/clients/follow.mjs");
const short = import("../../docs/clients/short.mjs");

/** A client of an example, and what it was handed. */
async function follower(url, options = {}, from = example) {
  const { follow } = await from;
  const got = { records: [], plain: [], missing: 0 };
  got.client = follow(url, {
    record: (data) => got.records.push(data),
    plain: (data) => got.plain.push(data),
    missing: () => { got.missing += 1; },
    WebSocket,
    ...options,
  });
  return got;
}

const url = (user) => `${place.proxy.url}?user=${user}`;

async function connected(user, count = 1) {
  await eventually("it is connected", async () => (await new Api(place.servers[0]).connections(user)).length === count);
}

/** A server that plays a dialogue: for each connection what it sends, and what it was asked for. */
function dialogue(connections) {
  const server = new WebSocket.Server({ port: 0 });
  const asked = [];
  server.on("connection", (socket, request) => {
    asked.push(new URL(request.url, "ws://localhost").searchParams.getAll("after"));
    for (const frame of connections[asked.length - 1] ?? []) {
      socket.send(typeof frame === "string" ? frame : JSON.stringify({ switchboard: frame }));
    }
    if (asked.length < connections.length) socket.close(1012);
  });
  return { server, asked, url: `ws://127.0.0.1:${server.address().port}/connect` };
}

// Payloads are not of this form or that: one may begin as Switchboard's own frames do.
const PLAIN = ["plain", '{"switchboard":', '{"switchboard":null}'];

const announces = (position, id) => ({ message: { position, id } });

run({
  "each record comes once and in its order while servers are killed and started again": async () => {
    const [ann, again, bob] = await Promise.all(["ann", "ann", "bob"].map((user) => follower(url(user))));
    const [annShort, bobShort] = await Promise.all(["ann", "bob"].map((user) => follower(url(user), {}, short)));
    await connected("ann", 3);
    await connected("bob", 2);
    const [ofAnn, ofBob] = await pushWhileServersAreKilled(["ann", "bob"]);
    for (const [got, count] of [[ann, ofAnn], [again, ofAnn], [bob, ofBob], [annShort, ofAnn], [bobShort, ofBob]]) {
      await eventually("the last record", () => got.records.length >= count);
      got.client?.stop(); // the short one has no end
      assert.deepEqual(got.records.map(number), upTo(count));
      assert.deepEqual([got.missing, got.plain], [0, []]);
    }
  },

  "who was away gets what came meanwhile, and plain pushes come in between": async () => {
    const got = await follower(url("cat"));
    await connected("cat");
    await pushLogged("cat", "first");
    for (const text of PLAIN) await new Api(place.servers[0]).push("cat", text);
    await eventually("all", () => got.records.length + got.plain.length === 1 + PLAIN.length);
    got.client.stop();
    await connected("cat", 0);
    await pushLogged("cat", "meanwhile");
    got.client.start();
    await eventually("it", () => got.records.length === 2);
    got.client.stop();
    assert.deepEqual([got.records, got.plain, got.missing], [["first", "meanwhile"], PLAIN, 0]);
  },

  "what it has taken it confirms": async () => {
    const got = await follower(url("gil"));
    await connected("gil");
    assert.equal(await pushUntilAcked("gil", "confirmed"), 1);
    got.client.stop();
    assert.deepEqual(got.records, ["confirmed"]);
    const gotShort = await follower(url("hal"), {}, short);
    await connected("hal");
    for (const text of PLAIN) await new Api(place.servers[0]).push("hal", text);
    assert.equal(await pushUntilAcked("hal", "confirmed"), 1);
    assert.deepEqual(gotShort.records, ["confirmed"]);
  },

  "who comes with a position that the log does not know is told, and gets what is kept": async () => {
    await pushLogged("dan", "kept");
    const got = await follower(url("dan"), { after: ["00000000000001ffffffff"] });
    await eventually("it", () => got.records.length === 1);
    got.client.stop();
    assert.deepEqual([got.records, got.missing], [["kept"], 1]);
    const gotShort = await follower(url("dan"), { after: ["00000000000001ffffffff"] }, short);
    await eventually("it", () => gotShort.records.length === 1);
    assert.deepEqual([gotShort.records, gotShort.missing], [["kept"], 1]);
  },

  "after `back` what comes again is dropped, and the last positions are offered, newest first": async () => {
    const [first, second] = ["0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11", "7d4c0f4e-90c9-4c61-a0b5-0d5d2f1f4c55"];
    const connections = [
      [{ hello: { uuid: "u", log: { position: "A", resumed: false } } }, announces("B", first), "one", announces("C", second), "two"],
      [{ hello: { uuid: "u", log: { position: "C", resumed: true } } }, { back: { position: "B" } }, announces("D", second), "two", announces("E", "3"), "three"],
      [{ hello: { uuid: "u", log: null } }, { log: { position: "E", resumed: true } }, { gap: { position: "F" } }],
      [{ hello: { uuid: "u", log: { position: "G", resumed: false, reason: "expired" } } }],
    ];
    for (const from of [example, short]) {
      const { server, asked, url: at } = dialogue(connections);
      const got = await follower(at, {}, from);
      await eventually("the last hello", () => got.missing === 2);
      got.client?.stop();
      server.close();
      assert.deepEqual(got.records, ["one", "two", "three"]);
      assert.deepEqual(asked, [[], ["C", "B", "A"], ["E", "D", "B", "A"], ["F"]]);
      if (got.client) assert.deepEqual(got.client.positions(), ["G"]);
    }
  },

  "who was kicked does not come back": async () => {
    let ended;
    const closed = new Promise((resolve) => { ended = resolve; });
    await follower(url("eve"), { ended });
    await connected("eve");
    const [{ connection }] = await new Api(place.servers[0]).connections("eve");
    await new Api(place.servers[0]).kick("eve", connection);
    assert.equal(await within(closed, "the end"), 4001);
  },

  "a token is asked for at each connection": async () => {
    const { token } = require("./check");
    let asked = 0;
    const got = await follower(place.tokens.terminals, { token: async () => { asked += 1; return token("fay", 2); } });
    await eventually("it is back", () => asked >= 2);
    await new Api(place.tokens).accepted("POST", "/v1/users/fay/push?durable=true", "to who has a new token");
    await eventually("it", () => got.records.length === 1);
    got.client.stop();
  },
});
