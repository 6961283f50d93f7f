// The package `centrifuge` from npm at two servers that take tokens, in each encoding over each of its transports.
"use strict";

const { randomUUID } = require("node:crypto");
const WebSocket = require("ws");
const { JSON_57, JSON_58, PROTOBUF_57, PROTOBUF_58, bytes, certain, eventSource, value } = require("./centrifuge_package");
const { Api, assert, eventually, place, run, sleep, token, within } = require("./check");

/** How a client speaks, and over what. `options` are those of the package that say so. */
const WAYS = {
  "JSON": { ...JSON_57, options: overWebSocket },
  "Protobuf": { ...PROTOBUF_57, options: overWebSocket },
  "JSON of 5.8": { ...JSON_58, options: overWebSocket },
  "Protobuf of 5.8": { ...PROTOBUF_58, options: overWebSocket },
  "JSON over an HTTP stream": { ...JSON_57, transport: "http_stream", options: overStream },
  "Protobuf over an HTTP stream": { ...PROTOBUF_57, transport: "http_stream", options: overStream },
  "JSON over an event stream": { ...JSON_57, transport: "sse", options: overStream },
};

const [near, far] = place.servers;
const farApi = new Api(far);
const host = (server) => new URL(server.terminals).host;
const at = (server) => server.terminals.replace("/connect", "/connection/websocket");

/** A client of a user, and all that it has told of. Where it connects can be changed. */
function client(way, user, options = {}) {
  const { Centrifuge, transport } = way;
  const told = { server: near, sockets: [], events: [], publications: [], subscribed: [] };
  const endpoint = `http://${host(near)}/connection/${transport}`;
  const centrifuge = new Centrifuge(transport ? [{ transport, endpoint }] : at(near), {
    ...way.options(told),
    getToken: async () => token(user),
    minReconnectDelay: 100,
    maxReconnectDelay: 200,
    ...options,
  });
  for (const event of ["connecting", "connected", "disconnected", "error"]) {
    centrifuge.on(event, (context) => told.events.push({ event, ...context }));
  }
  centrifuge.on("publication", (context) => told.publications.push(context));
  centrifuge.on("subscribed", (context) => told.subscribed.push(context));
  told.of = (event) => told.events.filter((each) => each.event === event);
  told.centrifuge = centrifuge;
  centrifuge.connect();
  return told;
}

function overWebSocket(told) {
  class Socket extends WebSocket {
    constructor(url, protocols) {
      super(at(told.server) + new URL(url).search, protocols);
      told.sockets.push(this);
    }
  }
  return { websocket: Socket };
}

/** What the client says goes to the other server than the one that it is connected to. */
function overStream(told) {
  const emulationEndpoint = `http://${host(far)}/emulation`;
  const other = () => (told.server === far ? near : far);
  const request = async (url, options) => {
    if (url === emulationEndpoint) {
      // One that cannot be sent would end this program.
      const answer = await fetch(`http://${host(other())}/emulation`, options).catch(() => Response.error());
      told.relayed.push(answer.status);
      return answer;
    }
    const aborted = new AbortController();
    options.signal?.addEventListener("abort", () => aborted.abort());
    told.sockets.push({ terminate: () => aborted.abort() });
    const { pathname, search } = new URL(url);
    return fetch(`http://${host(told.server)}${pathname}${search}`, { ...options, signal: aborted.signal });
  };
  told.relayed = [];
  return { fetch: request, emulationEndpoint, eventsource: eventSource(request) };
}

async function connected(told, times = 1) {
  await eventually("it is connected", () => told.of("connected").length >= times);
  return told.of("connected").at(-1).client;
}

/** A client that is connected. */
async function open(...args) {
  const told = client(...args);
  told.client = await connected(told);
  return told;
}

/** What a client names itself by, which the package does not show. */
const sessionOf = ({ centrifuge }) => ({ session: centrifuge._session, node: centrifuge._node });

const values = (told) => told.publications.map(({ data }) => value(data));

async function logged(user, data) {
  const { body } = await farApi.send("POST", `/v1/users/${user}/push?durable=true`, JSON.stringify(data),
    { "Content-Type": "text/plain", "Idempotency-Key": randomUUID() });
  assert.ok(body.logged && body.logged !== "unknown", JSON.stringify(body));
}

const refused = (promise) => within(promise.then(() => assert.fail("it was not refused"), (error) => error), "a refusal");

const checks = (way) => ({
  "a client gets what is pushed to its user at the other server": async (user) => {
    const told = await open(way, user);
    const [listed] = await farApi.connections(user);
    assert.equal(listed.connection, told.client);
    await farApi.pushToOne(user, '{"text":"hello",\n "number":5}');
    await eventually("the publication", () => told.publications.length === 1);
    const [publication] = told.publications;
    assert.deepEqual([publication.channel, value(publication.data)], [`#${user}`, { text: "hello", number: 5 }]);
    told.centrifuge.disconnect();
    await eventually("it is gone", async () => (await farApi.connections(user)).length === 0);
  },

  "what is for everyone has a channel of its own": async (user) => {
    const told = await open(way, user);
    await farApi.accepted("POST", "/v1/broadcast", '"all"', { "Content-Type": "text/plain" });
    await eventually("the publication", () => told.publications.some(({ channel }) => channel === "#"));
    told.centrifuge.disconnect();
  },

  "what was missed comes at another server, once and in order": async (user) => {
    const told = await open(way, user);
    await logged(user, 1);
    await eventually("the first", () => told.publications.length === 1);
    for (const turn of [1, 2, 3]) {
      const from = 3 * turn - 1;
      told.server = place.servers[turn % 2];
      told.sockets.at(-1).terminate();
      await eventually("it is away", async () => (await farApi.connections(user)).length === 0);
      await logged(user, from);
      await logged(user, from + 1);
      await connected(told, turn + 1);
      await logged(user, from + 2);
      await eventually("all of them", () => told.publications.length >= from + 2);
      // It has no position, and must not take the client's from it.
      await farApi.pushToOne(user, '"plain"');
      await eventually("the plain one", () => values(told).includes("plain"));
      told.publications.pop();
    }
    assert.deepEqual(values(told), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const own = told.subscribed.filter(({ channel }) => channel === `#${user}`);
    assert.deepEqual(own.map(({ recovered, wasRecovering }) => [recovered, wasRecovering]),
      [[false, false], [true, true], [true, true], [true, true]]);
    const offsets = told.publications.map(({ offset }) => Number(offset));
    assert.deepEqual(offsets, [...new Set(offsets)].sort((one, other) => one - other));
    told.centrifuge.disconnect();
  },

  "a client whose position is lost is told so": async (user) => {
    const told = await open(way, user);
    await logged(user, 1);
    await eventually("the first", () => told.publications.length === 1);
    told.sockets.at(-1).terminate();
    await farApi.accepted("DELETE", `/v1/users/${user}/log`);
    await connected(told, 2);
    await eventually("that it may have missed something", () => {
      const own = told.subscribed.filter(({ channel }) => channel === `#${user}`);
      return own.some(({ recovered, wasRecovering }) => wasRecovering && !recovered);
    });
    told.centrifuge.disconnect();
  },

  "a client whose log is deleted under it comes again": async (user) => {
    const told = await open(way, user);
    await logged(user, 1);
    await eventually("the first", () => told.publications.length === 1);
    await farApi.accepted("DELETE", `/v1/users/${user}/log`);
    await logged(user, 2);
    await eventually("it connects again", () => told.of("connecting").some(({ code }) => code === 3010));
    await connected(told, 2);
    await eventually("what is kept", () => values(told).includes(2));
    told.centrifuge.disconnect();
  },

  "an expired token is answered so that the client gets a new one": async (user) => {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return token(user);
    };
    const told = await open(way, user, { token: token(user, -60), getToken });
    assert.equal(asked, 1);
    assert.ok(told.of("error").some(({ error }) => error.code === 109), JSON.stringify(told.events));
    told.centrifuge.disconnect();
  },

  "a client renews its token and stays": async (user) => {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return token(user, -26); // Of the leeway of 30 s four are left.
    };
    const told = await open(way, user, { getToken });
    await eventually("it is asked for tokens", () => asked >= 3);
    await farApi.pushToOne(user, '"here"');
    await eventually("the publication", () => told.publications.length === 1);
    assert.equal(told.sockets.length, 1);
    told.centrifuge.disconnect();
  },

  "a token that does not count ends it for good": async (user) => {
    const told = client(way, user, { getToken: async () => `${token(user)}x` });
    await eventually("it gives up", () => told.of("disconnected").length === 1);
    assert.equal(told.of("disconnected")[0].code, 3500);
  },

  "without a token it is not let in": async (user) => {
    const told = client(way, user, { getToken: null });
    await eventually("it gives up", () => told.of("disconnected").length === 1);
    assert.equal(told.of("disconnected")[0].code, 101);
  },

  "a client that is kicked stays away": async (user) => {
    const told = await open(way, user);
    await farApi.kick(user, told.client);
    await eventually("it is told so", () => told.of("disconnected").length === 1);
    const { code, reason } = told.of("disconnected")[0];
    assert.deepEqual([code, reason], [3503, "force disconnect"]);
  },

  "presence and history of the user's channel": async (user) => {
    const told = await open(way, user);
    for (const number of [1, 2, 3]) await logged(user, number);
    await eventually("the publications", () => told.publications.length === 3);
    const { centrifuge } = told;
    const { clients } = await certain(() => within(centrifuge.presence(`#${user}`), "the presence"));
    assert.deepEqual(Object.values(clients).map((info) => [info.client, info.user]), [[told.client, user]]);
    const stats = await certain(() => within(centrifuge.presenceStats(`#${user}`), "the statistics"));
    assert.deepEqual([stats.numClients, stats.numUsers], [1, 1]);
    const history = async (options) => {
      const page = await within(centrifuge.history(`#${user}`, options), "the history");
      assert.equal(Number(page.offset), Number(told.publications[2].offset));
      return page.publications.map(({ data }) => value(data));
    };
    const { epoch } = await centrifuge.history(`#${user}`, { limit: 0 });
    const since = { offset: Number(told.publications[0].offset), epoch };
    assert.deepEqual(await history({ limit: -1 }), [1, 2, 3]);
    assert.deepEqual(await history({ limit: 2 }), [1, 2]);
    assert.deepEqual(await history({ limit: 2, reverse: true }), [3, 2]);
    assert.deepEqual(await history({ limit: 0 }), []);
    assert.deepEqual(await history({ limit: 10, since }), [2, 3]);
    const lost = { offset: since.offset + 1, epoch };
    assert.equal((await refused(centrifuge.history(`#${user}`, { limit: 10, since: lost }))).code, 112);
    centrifuge.disconnect();
  },

  "what there is not is answered, and the client goes on": async (user) => {
    const told = await open(way, user);
    const { centrifuge } = told;
    const data = bytes(way, { a: 1 });
    assert.equal((await refused(centrifuge.rpc("method", data))).code, 108);
    assert.equal((await refused(centrifuge.publish(`#${user}`, data))).code, 103);
    assert.equal((await refused(centrifuge.history(`#another ${user}`, { limit: 1 }))).code, 103);
    await centrifuge.send(data);
    await farApi.pushToOne(user, '"on"');
    await eventually("the publication", () => told.publications.length === 1);
    centrifuge.disconnect();
  },

  "what was missed in a topic comes at another server, once and in order": async (user) => {
    const told = await open(way, user);
    const topic = `room:${user}`;
    const [room, got, stands] = [told.centrifuge.newSubscription(topic), [], []];
    room.on("publication", (context) => got.push(context));
    room.on("subscribed", ({ recovered, wasRecovering }) => stands.push([recovered, wasRecovering]));
    room.subscribe();
    await within(room.ready(), "the subscription");
    const push = (data, durable) => farApi.accepted("POST", `/v1/topics/${topic}/push${durable}`, JSON.stringify(data),
      { "Content-Type": "text/plain" });
    const has = (count) => eventually("all of them", () => got.length === count);
    await within(room.publish(bytes(way, 1)), "that it is a record");
    await has(1);
    for (const turn of [1, 2]) {
      told.server = place.servers[turn % 2];
      told.sockets.at(-1).terminate();
      await eventually("it is away", async () => (await farApi.connections(user)).length === 0);
      await push(3 * turn - 1, "?durable=true");
      await push(3 * turn, "?durable=true");
      await connected(told, turn + 1);
      await has(3 * turn);
      await within(room.publish(bytes(way, 3 * turn + 1)), "that it is a record");
      await has(3 * turn + 1);
      // It has no position, and must not take the client's from it.
      await push("plain", "");
      await has(3 * turn + 2);
      assert.equal(value(got.pop().data), "plain");
    }
    assert.deepEqual(got.map(({ data }) => value(data)), [1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(stands, [[false, false], [true, true], [true, true]]);
    const page = await within(room.history({ limit: 2, reverse: true }), "the history");
    assert.deepEqual(page.publications.map(({ data }) => value(data)), [7, 6]);
    assert.equal(Number(page.offset), Number(got.at(-1).offset));
    // One that is new and has nothing is given what is kept.
    const all = [];
    room.unsubscribe();
    told.centrifuge.removeSubscription(room);
    const anew = told.centrifuge.newSubscription(topic, { since: { offset: 0, epoch: "" } });
    anew.on("publication", ({ data }) => all.push(value(data)));
    anew.subscribe();
    await eventually("what is kept", () => all.length === 7);
    assert.deepEqual(all, [1, 2, 3, 4, 5, 6, 7]);
    told.centrifuge.disconnect();
  },

  "a client joins a topic that its token allows": async (user) => {
    const topics = [`joined-${user}`, `room-${user}-*`];
    const told = await open(way, user, { getToken: async () => token(user, 600, { topics }) });
    assert.ok(told.subscribed.some(({ channel }) => channel === topics[0]), JSON.stringify(told.subscribed));
    const room = told.centrifuge.newSubscription(`room-${user}-7`);
    const publications = [];
    room.on("publication", ({ data }) => publications.push(value(data)));
    room.subscribe();
    await within(room.ready(), "the subscription");
    for (const topic of [topics[0], `room-${user}-7`]) {
      await farApi.accepted("POST", `/v1/topics/${topic}/push`, '"to the topic"', { "Content-Type": "text/plain" });
    }
    await eventually("the publications", () => publications.length === 1 && told.publications.length === 1);
    assert.deepEqual([publications, told.publications[0].channel], [["to the topic"], topics[0]]);
    const other = told.centrifuge.newSubscription("secret");
    const ended = new Promise((resolve) => other.once("unsubscribed", resolve));
    other.subscribe();
    assert.equal((await within(ended, "a refusal")).code, 103);
    room.unsubscribe();
    told.centrifuge.disconnect();
  },

  "a client that is idle is pinged, and answers": async (user) => {
    const told = await open(way, user);
    await sleep(7000); // Longer than pings and patience together.
    assert.deepEqual([told.sockets.length, told.of("connecting").length], [1, 1]);
    await farApi.pushToOne(user, '"still"');
    await eventually("the publication", () => told.publications.length === 1);
    told.centrifuge.disconnect();
  },

  "a payload of any kind arrives": async (user) => {
    const told = await open(way, user);
    for (const [payload, shown] of [
      ["no JSON", "no JSON"],
      ["5", 5],
      [Buffer.from([0, 255]), { base64: "AP8=" }],
    ]) {
      told.publications.length = 0;
      await farApi.pushToOne(user, payload);
      await eventually("the publication", () => told.publications.length === 1);
      const [{ data }] = told.publications;
      assert.deepEqual(way.isJson ? data : Buffer.from(data), way.isJson ? shown : Buffer.from(payload));
    }
    told.centrifuge.disconnect();
  },
});

const all = {};
for (const [name, way] of Object.entries(WAYS)) {
  for (const [number, [what, check]] of Object.entries(checks(way)).entries()) {
    all[`${name}: ${what}`] = () => check(`${name.replaceAll(" ", "-")}-${number}`);
  }
}

all["what is said on other connections must be of a terminal"] = async () => {
  const way = WAYS["JSON over an HTTP stream"];
  const told = await open(way, "named");
  const { session, node } = sessionOf(told);
  const say = async (server, body) => {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    return (await fetch(`http://${host(server)}/emulation`, options)).status;
  };
  const data = '{"id":77,"rpc":{"method":"m"}}';
  for (const server of place.servers) {
    assert.equal(await say(server, { session, node, data }), 204);
    const other = session.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
    assert.equal(await say(server, { session: other, node, data }), 404);
    assert.equal(await say(server, { session, node: "0000000000000007", data }), 404);
    assert.equal(await say(server, { session }), 400);
    assert.equal(await say(server, { session, node, data: "x".repeat(place.frame_bytes + 1) }), 413);
  }
  told.centrifuge.disconnect();
  await eventually("it is gone", async () => (await farApi.connections("named")).length === 0);
  for (const server of place.servers) assert.equal(await say(server, { session, node, data }), 404);
};

all["pages of other origins may neither connect nor speak"] = async () => {
  for (const [path, method] of [["connection/http_stream", "POST"], ["connection/sse?cf_connect=%7B%7D", "GET"],
    ["connection/uni_http_stream", "POST"], ["connection/uni_sse", "GET"], ["emulation", "POST"]]) {
    const ask = (options, origin) => fetch(`http://${host(near)}/${path}`, { ...options, headers: { origin, "x": "y" } });
    const body = method === "POST" ? "{}" : undefined;
    assert.equal((await ask({ method, body }, "https://evil.example")).status, 403, path);
    const preflight = { method: "OPTIONS" };
    assert.equal((await ask(preflight, "https://evil.example")).status, 403, path);
    const allowed = await ask(preflight, `http://${host(near)}`);
    assert.equal(allowed.status, 204, path);
    assert.equal(allowed.headers.get("access-control-allow-origin"), `http://${host(near)}`);
    assert.equal(allowed.headers.get("access-control-max-age"), "300");
  }
};

/** It ends a server, and comes last. */
all["clients whose server is drained go on at another one"] = async () => {
  const clients = await Promise.all(Object.values(WAYS).map((way, number) => open(way, `drained-${number}`)));
  const all = (what, is) => eventually(what, () => clients.every(is));
  for (const number of clients.keys()) await logged(`drained-${number}`, 1);
  await all("the first", (told) => told.publications.length === 1);
  for (const told of clients) told.server = far;
  process.kill(near.pid, "SIGTERM");
  for (const told of clients) {
    await connected(told, 2);
    assert.equal(told.of("connecting").at(-1).code, 3001, JSON.stringify(told.events));
  }
  for (const number of clients.keys()) await logged(`drained-${number}`, 2);
  await all("the second", (told) => told.publications.length === 2);
  for (const told of clients) told.centrifuge.disconnect();
};

run(all);
