// What every script in JavaScript stands on: the place that the runner has built for it, checks that
// are printed one by one, and a publisher.
"use strict";

const assert = require("node:assert/strict");
const { createHmac } = require("node:crypto");
const http = require("node:http");

/** Servers, keys and limits, as `switchboard-foreign` wrote them down. */
const place = JSON.parse(process.env.FOREIGN_PLACE);

/** How long a check waits for what must come true: far longer than it takes. */
const PATIENCE_MS = 30_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs the checks in order and ends the process, with 1 if one has failed. */
async function run(checks, cleanUp = () => {}) {
  let failed = false;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok ${name}`);
    } catch (error) {
      failed = true;
      console.log(`FAILED ${name}\n${error.stack}`);
    }
  }
  await cleanUp();
  process.exit(failed ? 1 : 0);
}

/** The value of a promise, or an error that says what did not come. */
function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`this did not come: ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until `find` gives something true, and gives it. */
async function eventually(what, find) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await find();
    if (found) return found;
    assert.ok(Date.now() < end, `this did not come true: ${what}`);
    await sleep(20);
  }
}

/** The HTTP API of one server, on a connection that is kept. */
class Api {
  constructor(server) {
    this.base = server.api;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  }

  /** Sends a request and gives status and body. */
  send(method, path, body, headers = {}) {
    return within(new Promise((resolve, reject) => {
      const request = http.request(this.base + path, {
        method,
        agent: this.agent,
        headers: { Authorization: `Bearer ${place.key}`, ...headers },
      }, async (response) => {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        resolve({ status: response.statusCode, body: JSON.parse(Buffer.concat(chunks)) });
      });
      request.on("error", reject);
      request.end(body);
    }), `the answer to ${method} ${path}`);
  }

  async accepted(method, path, body, headers) {
    const answer = await this.send(method, path, body, headers);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body;
  }

  /** Pushes a string as text or a buffer as binary, and gives the receipt. */
  push(user, payload, deadline = "3s") {
    const type = typeof payload === "string" ? "text/plain" : "application/octet-stream";
    return this.accepted("POST", `/v1/users/${user}/push?deadline=${deadline}`, payload, { "Content-Type": type });
  }

  /** Pushes, and demands that exactly one terminal was written to. On a busy machine an instance may be in doubt whether
   * there are others. */
  async pushToOne(user, payload) {
    const { written, queued, failed } = await this.push(user, payload);
    assert.deepEqual({ written, queued, failed }, { written: 1, queued: 0, failed: 0 });
  }

  async connections(user) {
    return (await this.accepted("GET", `/v1/users/${user}/connections`)).connections;
  }

  kick(user, uuid) {
    return this.accepted("DELETE", `/v1/users/${user}/connections/${uuid}`);
  }

  /** The id of the instance that answers here. */
  async instance() {
    const { instances } = await this.accepted("GET", "/v1/instances");
    return instances.find((instance) => instance.this).instance;
  }
}

/** Which server holds the user's only connection, and which does not. */
async function holder(user) {
  const [connection] = await new Api(place.servers[0]).connections(user);
  for (const server of place.servers) {
    if (await new Api(server).instance() === connection.instance) {
      return { held: server, other: place.servers.find((each) => each !== server) };
    }
  }
  throw new Error(`nobody is instance ${connection.instance}`);
}

/** A token of the identity provider that the `tokens` server trusts. */
function token(user, seconds = 600, claims = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const message = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, exp, ...claims })}`;
  return `${message}.${createHmac("sha256", place.tokens.secret).update(message).digest("base64url")}`;
}

module.exports = { Api, assert, eventually, holder, place, run, sleep, token, within };
