// Programs without a package, which only listen: `fetch` and `ws` at the endpoints of Centrifuge for them.
"use strict";

const { randomUUID } = require("node:crypto");
const net = require("node:net");
const WebSocket = require("ws");
const { Api, assert, eventually, place, run, sleep, token } = require("./check");

const [near, far] = place.servers;
const farApi = new Api(far);
const host = new URL(near.terminals).host;

/** A listener: all that it was told, in order, and how it ended. */
class Listener {
  constructor() {
    this.told = [];
    this.ended = false;
  }

  of(name) {
    return this.told.filter((each) => name in each).map((each) => each[name]);
  }

  values() {
    return this.of("pub").map(({ data }) => data);
  }

  async connected() {
    await eventually("it is connected", () => this.of("connect").length === 1);
    return this.of("connect")[0];
  }
}

/** Ways to listen. Each is given what is said first. */
const WAYS = {
  "an event stream": (said) => {
    const query = `cf_connect=${encodeURIComponent(JSON.stringify(said))}`;
    return stream(`uni_sse?${query}`, {}, "\n\n", "data: ");
  },
  "an event stream that is posted to": (said) => stream("uni_sse", post(said), "\n\n", "data: "),
  "an HTTP stream": (said) => stream("uni_http_stream", post(said), "\n", ""),
  "a WebSocket": (said) => socket("uni_websocket", said),
  "a WebSocket with a query": (said) => {
    return socket(`uni_websocket?cf_connect=${encodeURIComponent(JSON.stringify(said))}`, null);
  },
};

const post = (said) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });

function stream(path, options, end, prefix) {
  const listener = new Listener();
  const aborted = new AbortController();
  listener.close = () => aborted.abort();
  const read = async () => {
    const answer = await fetch(`http://${host}/connection/${path}`, { ...options, signal: aborted.signal });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("x-accel-buffering"), "no");
    let text = "";
    for await (const bytes of answer.body.pipeThrough(new TextDecoderStream())) {
      const messages = (text + bytes).split(end);
      text = messages.pop();
      for (const message of messages) {
        if (message.startsWith(prefix)) listener.told.push(JSON.parse(message.slice(prefix.length)));
      }
    }
  };
  read().catch((error) => (listener.error = error)).then(() => (listener.ended = true));
  return listener;
}

function socket(path, said) {
  const listener = new Listener();
  const socket = new WebSocket(`ws://${host}/connection/${path}`);
  if (said) socket.on("open", () => socket.send(JSON.stringify(said)));
  socket.on("message", (message) => listener.told.push(JSON.parse(message)));
  socket.on("close", () => (listener.ended = true));
  listener.close = () => socket.close();
  return listener;
}

async function logged(user, data) {
  const { body } = await farApi.send("POST", `/v1/users/${user}/push?durable=true`, JSON.stringify(data),
    { "Content-Type": "text/plain", "Idempotency-Key": randomUUID() });
  assert.ok(body.logged && body.logged !== "unknown", JSON.stringify(body));
}

const checks = (listen) => ({
  "it is told of its connection, of pushes, of pings, and of its end": async (user) => {
    const listener = listen({ token: token(user, 600, { topics: [`news-${user}`] }) });
    const { client, subs, pong, session } = await listener.connected();
    assert.deepEqual([pong, session], [undefined, undefined]);
    assert.deepEqual(Object.keys(subs).sort(), ["#", `#${user}`, `news-${user}`]);
    await farApi.pushToOne(user, '{"text":"hello\\n"}');
    await farApi.accepted("POST", `/v1/topics/news-${user}/push`, '"news"', { "Content-Type": "text/plain" });
    await eventually("the publications", () => listener.values().length === 2);
    assert.deepEqual(listener.values(), [{ text: "hello\n" }, "news"]);
    await sleep(7000); // Longer than pings and patience together.
    assert.ok(listener.told.some((each) => Object.keys(each).length === 0), "a ping");
    assert.equal(listener.ended, false);
    await farApi.kick(user, client);
    await eventually("its end", () => listener.ended);
    assert.deepEqual(listener.of("disconnect"), [{ code: 3503, reason: "force disconnect" }]);
  },

  "what was missed comes, once and in order": async (user) => {
    const said = { token: token(user) };
    const first = listen(said);
    await first.connected();
    await logged(user, 1);
    await eventually("the first", () => first.values().length === 1);
    const [{ offset }] = first.of("pub");
    first.close();
    await eventually("it is gone", async () => (await farApi.connections(user)).length === 0);
    await logged(user, 2);
    await logged(user, 3);
    const second = listen({ ...said, subs: { [`#${user}`]: { recover: true, epoch: "1", offset } } });
    const { subs } = await second.connected();
    assert.equal(subs[`#${user}`].recovered, true);
    await logged(user, 4);
    await eventually("all of them", () => second.values().length === 3);
    assert.deepEqual(second.values(), [2, 3, 4]);
    second.close();
  },

  "a token that does not count, or has expired, is its end": async (user) => {
    for (const [wrong, code] of [[`${token(user)}x`, 3500], ["", 3500], [token(user, -60), 3005]]) {
      const listener = listen({ token: wrong });
      await eventually("its end", () => listener.ended);
      assert.deepEqual(listener.of("disconnect").map((each) => each.code), [code]);
      assert.equal(listener.of("connect").length, 0);
    }
  },
});

const all = {};
for (const [name, listen] of Object.entries(WAYS)) {
  for (const [number, [what, check]] of Object.entries(checks(listen)).entries()) {
    all[`over ${name}: ${what}`] = () => check(`${name.replaceAll(" ", "-")}-${number}`);
  }
}

all["who does not read what it is told is closed"] = async () => {
  const body = JSON.stringify({ token: token("deaf") });
  const socket = net.connect(Number(new URL(`http://${host}`).port), "127.0.0.1");
  socket.write(`POST /connection/uni_http_stream HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await eventually("it is connected", async () => (await farApi.connections("deaf")).length === 1);
  const large = "x".repeat(place.push_bytes / 2);
  await eventually("it is closed", async () => {
    await farApi.push("deaf", large, "100ms");
    return (await farApi.connections("deaf")).length === 0;
  });
  socket.destroy();
};

run(all);
