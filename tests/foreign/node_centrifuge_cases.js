// What the suite of `centrifuge-js` tries at a server, tried here with the package: that has no tests, and its suite is
// fetched from nowhere. Checks have the names that its cases have; suites/centrifuge-js.skipped lists them.
"use strict";

const { readFileSync, readdirSync } = require("node:fs");
const path = require("node:path");
const WebSocket = require("ws");
const { JSON_57, JSON_58, PROTOBUF_57, PROTOBUF_58, bytes, certain, eventSource, value } = require("./centrifuge_package");
const { Api, assert, eventually, place, run, sleep, token, within } = require("./check");

const WAYS = {
  "JSON": JSON_57,
  "JSON of 5.8": JSON_58,
  "Protobuf": PROTOBUF_57,
  "Protobuf of 5.8": PROTOBUF_58,
  "JSON over an HTTP stream": { ...JSON_58, transport: "http_stream" },
  "JSON over an event stream": { ...JSON_58, transport: "sse" },
};

const [near, far] = place.servers.map((server) => new URL(server.terminals).host);
const api = new Api(place.servers[1]);

/** A client of a user that does not connect by itself. */
function client(way, user, options = {}) {
  const { transport = "websocket" } = way;
  const scheme = transport === "websocket" ? "ws" : "http";
  return new way.Centrifuge([{ transport, endpoint: `${scheme}://${near}/connection/${transport}` }], {
    websocket: WebSocket,
    fetch: (url, asked) => (asked.signal ? fetch(url, asked) : fetch(url, asked).catch(() => Response.error())),
    eventsource: eventSource(fetch),
    emulationEndpoint: `http://${far}/emulation`,
    getToken: async () => token(user),
    minReconnectDelay: 1,
    maxReconnectDelay: 200,
    ...options,
  });
}

/** One that is connected. */
async function open(way, user, options) {
  const centrifuge = client(way, user, options);
  centrifuge.connect();
  await within(centrifuge.ready(), "the connection");
  return centrifuge;
}

/** The next event of that name, which is not there yet. */
const next = (emitter, event) => within(new Promise((resolve) => emitter.once(event, resolve)), event);

async function close(way, centrifuge) {
  const ended = next(centrifuge, "disconnected");
  centrifuge.disconnect();
  await ended;
  assert.equal(centrifuge.state, way.State.Disconnected);
}

/** A subscription to which the client is subscribed, and what it gets. */
async function subscribed(centrifuge, topic, options) {
  const subscription = centrifuge.newSubscription(topic, options);
  const got = [];
  subscription.on("publication", ({ data }) => got.push(value(data)));
  subscription.subscribe();
  await within(subscription.ready(), "the subscription");
  return [subscription, got];
}

const has = (got, ...values) => eventually(`the publications ${values}`, () => got.length >= values.length)
  .then(() => assert.deepEqual(got, values));

const push = (topic, ...values) => values.reduce((before, data) => before.then(() => api.accepted("POST",
  `/v1/topics/${topic}/push?durable=true${topic.startsWith("smallhistory:") ? "&retain=2" : ""}`, JSON.stringify(data),
  { "Content-Type": "text/plain" })), Promise.resolve());

/** Throws once, and gives then what it is to give. */
function failing(once) {
  const calls = () => {
    calls.count += 1;
    if (calls.count === 1) throw new Error("it fails once");
    return once;
  };
  calls.count = 0;
  return calls;
}

const ANEW = { offset: 0, epoch: "" };

/** Those of `centrifuge.test.ts`, over each transport. */
const cases = (way) => ({
  "connects and disconnects": async (user) => {
    const centrifuge = client(way, user);
    const connected = next(centrifuge, "connected");
    centrifuge.connect();
    assert.ok((await connected).client);
    assert.equal(centrifuge.state, way.State.Connected);
    await close(way, centrifuge);
  },

  "subscribe and unsubscribe": async (user, topic) => {
    const centrifuge = await open(way, user);
    const [subscription] = await subscribed(centrifuge, topic);
    const ended = next(subscription, "unsubscribed");
    subscription.unsubscribe();
    assert.equal((await ended).code, way.unsubscribedCodes.unsubscribeCalled);
    assert.equal(subscription.state, way.SubscriptionState.Unsubscribed);
    await close(way, centrifuge);
  },

  "publish and receive message": async (user, topic) => {
    const centrifuge = await open(way, user);
    const [subscription, got] = await subscribed(centrifuge, topic);
    await within(subscription.publish(bytes(way, { my: "data" })), "the answer");
    await has(got, { my: "data" });
    await close(way, centrifuge);
  },

  "rpc buffered till connected": async (user) => {
    const centrifuge = client(way, user);
    const answered = centrifuge.rpc("method", bytes(way, {})).then(() => 0, ({ code }) => code);
    centrifuge.connect();
    assert.equal(await within(answered, "the answer"), 108);
    await close(way, centrifuge);
  },

  "handles offline/online events": async (user) => {
    const network = new EventTarget();
    const centrifuge = await open(way, user, { networkEventTarget: network });
    const connecting = next(centrifuge, "connecting");
    network.dispatchEvent(new Event("offline"));
    assert.equal((await connecting).code, way.connectingCodes.transportClosed);
    assert.equal(centrifuge.state, way.State.Connecting);
    network.dispatchEvent(new Event("online"));
    await within(centrifuge.ready(), "the second connection");
    await close(way, centrifuge);
  },

  "not connecting on online in disconnected state": async (user) => {
    const network = new EventTarget();
    const centrifuge = await open(way, user, { networkEventTarget: network });
    await close(way, centrifuge);
    network.dispatchEvent(new Event("online"));
    assert.equal(centrifuge.state, way.State.Disconnected);
    await eventually("it is gone", async () => (await api.connections(user)).length === 0);
  },

  "subscribe and presence": async (user, topic) => {
    const centrifuge = await open(way, user);
    const [subscription] = await subscribed(centrifuge, topic);
    const { clients } = await certain(() => within(subscription.presence(), "the presence"));
    assert.deepEqual(Object.values(clients).map((info) => info.user), [user]);
    const stats = await certain(() => within(subscription.presenceStats(), "the statistics"));
    assert.deepEqual([stats.numClients, stats.numUsers], [1, 1]);
    await close(way, centrifuge);
  },

  "connect disconnect loop": async (user) => {
    const centrifuge = client(way, user);
    const ended = next(centrifuge, "disconnected");
    for (let turn = 0; turn < 10; turn += 1) {
      centrifuge.connect();
      centrifuge.disconnect();
    }
    await ended;
    assert.equal(centrifuge.state, way.State.Disconnected);
    await eventually("none is left", async () => (await api.connections(user)).length === 0);
  },

  "subscribe and unsubscribe loop": async (user, topic) => {
    const centrifuge = await open(way, user);
    const subscription = centrifuge.newSubscription(topic);
    const ended = next(subscription, "unsubscribed");
    for (let turn = 0; turn < 10; turn += 1) {
      subscription.subscribe();
      subscription.unsubscribe();
    }
    await ended;
    assert.equal(subscription.state, way.SubscriptionState.Unsubscribed);
    subscription.subscribe();
    await within(subscription.ready(), "the subscription");
    const there = (count) => eventually(`${count} is there`, async () => {
      const stats = await certain(() => centrifuge.presenceStats(topic));
      const { clients } = await certain(() => centrifuge.presence(topic));
      return [stats.numClients, stats.numUsers, Object.keys(clients).length].every((number) => number === count);
    });
    await there(1);
    subscription.unsubscribe();
    await there(0);
    await close(way, centrifuge);
  },

  "unsubscribe right after connect": async (user, topic) => {
    const centrifuge = await open(way, user);
    const subscription = centrifuge.newSubscription(topic);
    const ended = next(subscription, "unsubscribed");
    subscription.subscribe();
    centrifuge.disconnect();
    centrifuge.connect();
    subscription.unsubscribe();
    await ended;
    subscription.subscribe();
    await within(subscription.ready(), "the subscription");
    await close(way, centrifuge);
  },

  "connects and subscribes with token": async (user, topic) => {
    for (let turn = 0; turn < 5; turn += 1) {
      const asked = [];
      const late = async (what, claims) => {
        await sleep(Math.random() * 100);
        asked.push(what);
        return token(user, 600, claims);
      };
      const centrifuge = client(way, user, { getToken: () => late("connection") });
      centrifuge.connect();
      const shut = `shut:${topic}`;
      const [subscription] = await subscribed(centrifuge, shut, { getToken: () => late("topic", { channel: shut }) });
      subscription.unsubscribe();
      await close(way, centrifuge);
      assert.equal(subscription.state, way.SubscriptionState.Unsubscribed);
      assert.deepEqual(asked.sort(), ["connection", "topic"]);
    }
  },

  "subscribes and unsubscribes from many subs": async (user, topic) => {
    for (let turn = 0; turn < 5; turn += 1) {
      const centrifuge = client(way, user);
      centrifuge.connect();
      const names = ["1", "2", "3", "4", "5"].map((number) => `shut:${topic}-${number}`);
      const all = await Promise.all(names.map((channel) => subscribed(centrifuge, channel, {
        getToken: async () => sleep(Math.random() * 100).then(() => token(user, 600, { channel })),
      })));
      const ended = Promise.all(all.map(([subscription]) => next(subscription, "unsubscribed")));
      for (const [subscription] of all) subscription.unsubscribe();
      centrifuge.disconnect();
      const codes = (await ended).map(({ code }) => code);
      assert.deepEqual(codes, names.map(() => way.unsubscribedCodes.unsubscribeCalled));
      assert.equal(centrifuge.state, way.State.Disconnected);
    }
  },

  "retries connection getToken error": async (user) => {
    const tokens = failing(token(user));
    const centrifuge = await open(way, user, { getToken: async () => tokens() });
    assert.equal(tokens.count, 2);
    await close(way, centrifuge);
  },

  "retries connection getData error": async (user) => {
    const data = failing(bytes(way, {}));
    const centrifuge = await open(way, user, { getData: async () => data() });
    assert.equal(data.count, 2);
    await close(way, centrifuge);
  },

  "retries subscription getToken error": async (user, topic) => {
    const channel = `shut:${topic}`;
    const tokens = failing(token(user, 600, { channel }));
    const centrifuge = await open(way, user);
    await subscribed(centrifuge, channel, { getToken: async () => tokens(), minResubscribeDelay: 1 });
    assert.equal(tokens.count, 2);
    await close(way, centrifuge);
  },

  "retries subscription getData error": async (user, topic) => {
    const data = failing(bytes(way, {}));
    const centrifuge = await open(way, user);
    await subscribed(centrifuge, topic, { getData: async () => data(), minResubscribeDelay: 1 });
    assert.equal(data.count, 2);
    await close(way, centrifuge);
  },

  "disconnected with unauthorized": async (user) => {
    const getToken = async () => {
      throw new way.UnauthorizedError("");
    };
    const centrifuge = client(way, user, { getToken });
    const ended = next(centrifuge, "disconnected");
    centrifuge.connect();
    assert.equal((await ended).code, way.disconnectedCodes.unauthorized);
  },

  "unsubscribed with unauthorized": async (user, topic) => {
    const getToken = async () => {
      throw new way.UnauthorizedError("");
    };
    const centrifuge = client(way, user);
    const subscription = centrifuge.newSubscription(topic, { getToken });
    const ended = next(subscription, "unsubscribed");
    centrifuge.connect();
    subscription.subscribe();
    assert.equal((await ended).code, way.unsubscribedCodes.unauthorized);
    await within(centrifuge.ready(), "the connection");
    await close(way, centrifuge);
  },
});

/** Those that are tried over WebSockets alone: two more of `centrifuge.test.ts`, and those of `recovery.test.ts` and
 * `getstate.test.ts`. */
const overWebSockets = (way) => ({
  "unsubscribe in between connect command and reply": async (user, topic) => {
    const centrifuge = client(way, user);
    const subscription = centrifuge.newSubscription(topic);
    const said = new Promise((resolve) => {
      centrifuge.on("__centrifuge_debug:connect_frame_sent", () => {
        subscription.unsubscribe();
        resolve();
      });
    });
    subscription.subscribe();
    centrifuge.connect();
    await within(said, "that it has said who it is");
    await within(centrifuge.ready(), "the connection");
    subscription.subscribe();
    await within(subscription.ready(), "the subscription");
    await close(way, centrifuge);
  },

  "reconnect after close before transport open": async (user) => {
    const network = new EventTarget();
    const centrifuge = client(way, user, { networkEventTarget: network });
    centrifuge.once("__centrifuge_debug:transport_initialized", () => network.dispatchEvent(new Event("offline")));
    centrifuge.connect();
    await within(centrifuge.ready(), "the connection");
    await close(way, centrifuge);
  },

  "stream: recovery after disconnect delivers missed publications": async (user, topic) => {
    const centrifuge = await open(way, user);
    const [subscription, got] = await subscribed(centrifuge, topic);
    await push(topic, 1);
    await has(got, 1);
    await close(way, centrifuge);
    await push(topic, 2, 3, 4);
    const again = next(subscription, "subscribed");
    centrifuge.connect();
    const { recovered, wasRecovering } = await again;
    assert.deepEqual([recovered, wasRecovering], [true, true]);
    await has(got, 1, 2, 3, 4);
    await push(topic, 5);
    await has(got, 1, 2, 3, 4, 5);
    await close(way, centrifuge);
  },

  "stream: recovery after unsubscribe/resubscribe": async (user, topic) => {
    const centrifuge = await open(way, user);
    const [subscription, got] = await subscribed(centrifuge, topic);
    await push(topic, 1);
    await has(got, 1);
    subscription.unsubscribe();
    await push(topic, 2, 3);
    const again = next(subscription, "subscribed");
    subscription.subscribe();
    assert.equal((await again).recovered, true);
    await has(got, 1, 2, 3);
    await close(way, centrifuge);
  },

  "stream: unrecoverable position resubscribes without recovery": async (user, topic) => {
    const centrifuge = await open(way, user);
    const few = `smallhistory:${topic}`;
    const [subscription, got] = await subscribed(centrifuge, few);
    await push(few, 1);
    await has(got, 1);
    subscription.unsubscribe();
    await push(few, 2, 3, 4, 5);
    const again = next(subscription, "subscribed");
    subscription.subscribe();
    const { recovered, wasRecovering } = await again;
    assert.deepEqual([recovered, wasRecovering], [false, true]);
    await push(few, 6);
    // What is kept comes as well.
    await has(got, 1, 4, 5, 6);
    await close(way, centrifuge);
  },

  "getState is called on initial subscribe and position is used for recovery": async (user, topic) => {
    await push(topic, 1, 2, 3);
    const centrifuge = await open(way, user);
    let asked = 0;
    const getState = async () => {
      asked += 1;
      return ANEW;
    };
    const [, got] = await subscribed(centrifuge, topic, { getState });
    await has(got, 1, 2, 3);
    assert.equal(asked, 1);
    await close(way, centrifuge);
  },

  "getState is NOT called on reconnect when recovery succeeds": async (user, topic) => {
    const centrifuge = await open(way, user);
    let asked = 0;
    const getState = async () => {
      asked += 1;
      return ANEW;
    };
    const [subscription, got] = await subscribed(centrifuge, topic, { getState });
    await push(topic, 1);
    await has(got, 1);
    await close(way, centrifuge);
    await push(topic, 2);
    const again = next(subscription, "subscribed");
    centrifuge.connect();
    assert.equal((await again).recovered, true);
    await has(got, 1, 2);
    assert.equal(asked, 1);
    await close(way, centrifuge);
  },

  "without getState, subscribe uses since option (backward compat)": async (user, topic) => {
    await push(topic, 1);
    const centrifuge = await open(way, user);
    const [, got] = await subscribed(centrifuge, topic, { since: ANEW });
    await has(got, 1);
    await close(way, centrifuge);
  },

  "getState error triggers resubscribe with error event (matches map subscription behavior)": async (user, topic) => {
    const centrifuge = await open(way, user);
    const state = failing(ANEW);
    const subscription = centrifuge.newSubscription(topic, { getState: async () => state(), minResubscribeDelay: 100 });
    const error = next(subscription, "error");
    subscription.subscribe();
    const told = await error;
    assert.deepEqual([told.type, told.error.code], ["subscribe", way.errorCodes.subscriptionGetState]);
    await within(subscription.ready(), "the subscription");
    assert.equal(state.count, 2);
    await close(way, centrifuge);
  },

  "getState persistent failure keeps retrying without unsubscribing": async (user, topic) => {
    const centrifuge = await open(way, user);
    let asked = 0;
    const getState = async () => {
      asked += 1;
      throw new Error("it fails each time");
    };
    const delays = { minResubscribeDelay: 50, maxResubscribeDelay: 50 };
    const subscription = centrifuge.newSubscription(topic, { getState, ...delays });
    subscription.subscribe();
    await eventually("it tries again and again", () => asked > 2);
    assert.equal(subscription.state, way.SubscriptionState.Subscribing);
    await close(way, centrifuge);
  },

  "getState with real position recovers missed publications": async (user, topic) => {
    const centrifuge = await open(way, user);
    const before = centrifuge.newSubscription(topic);
    const first = next(before, "subscribed");
    before.subscribe();
    const { streamPosition } = await first;
    before.unsubscribe();
    centrifuge.removeSubscription(before);
    await push(topic, 1, 2);
    const [, got] = await subscribed(centrifuge, topic, { getState: async () => streamPosition });
    await has(got, 1, 2);
    await close(way, centrifuge);
  },

  "getState is called when recovery fails (unrecoverable position)": async (user, topic) => {
    const centrifuge = await open(way, user);
    const reader = await open(way, `${user}-reader`);
    const few = `smallhistory:${topic}`;
    let asked = 0;
    const getState = async () => {
      asked += 1;
      const { offset, epoch } = await reader.history(few, { limit: 0 });
      return { offset, epoch };
    };
    await push(few, 1);
    const [subscription, got] = await subscribed(centrifuge, few, { getState, minResubscribeDelay: 100 });
    assert.equal(asked, 1);
    await close(way, centrifuge);
    await push(few, 2, 3, 4, 5, 6);
    const again = next(subscription, "subscribed");
    centrifuge.connect();
    await again;
    assert.equal(asked, 2);
    await push(few, 7);
    await has(got, 7);
    await close(way, centrifuge);
    await close(way, reader);
  },
});

const all = {};
const names = new Set();
for (const [name, way] of Object.entries(WAYS)) {
  const made = way.transport ? cases(way) : { ...cases(way), ...overWebSockets(way) };
  for (const [number, [what, check]] of Object.entries(made).entries()) {
    const user = `${name.replaceAll(" ", "-")}-${number}`;
    names.add(what);
    all[`${name}: ${what}`] = () => check(user, `js:${user}`);
  }
}

all["each case that is said to be tried is tried"] = () => {
  const text = readFileSync(path.join(__dirname, "suites", "centrifuge-js.skipped"), "utf8");
  const tried = text.split("\n").map((line) => line.match(/^(\w+\.test\.ts): (.*): tried by node_centrifuge_cases\.js/));
  const listed = new Set(tried.filter(Boolean).map(([, , name]) => name));
  assert.deepEqual([...listed].sort(), [...names].sort());
};

all["no test of its own suite is in its package"] = () => {
  for (const name of ["centrifuge", "centrifuge58"]) {
    const files = readdirSync(path.join(process.env.NODE_PATH, name), { recursive: true });
    assert.ok(files.includes("package.json"), `${files.length} files`);
    // Otherwise suites/centrifuge-js.skipped gives a reason that there is no more.
    assert.deepEqual(files.filter((file) => /(\.test\.|__tests__|\btests?\b)/.test(file)), []);
  }
};

run(all);
