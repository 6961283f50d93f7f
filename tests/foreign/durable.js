// Durable pushes that never pause, and what their followers must have got of them.
"use strict";

const { randomUUID } = require("node:crypto");
const { createInterface } = require("node:readline");
const { Api, assert, eventually, place, sleep } = require("./check");

/** How long a server stays away, and how long both are there between two kills. */
const DEAD_MS = 1000;
const ALIVE_MS = 3000;

/** Between two pushes to a user: a log keeps 100 records, and who is away for seconds must find them. */
const PAUSE_MS = 100;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Kills a server without a word, and has the runner start it again. */
async function killAndRestart(number) {
  process.kill(place.servers[number].pid, "SIGKILL");
  await sleep(DEAD_MS);
  await restart(number);
}

/** Has the runner start a server again, after killing it if it lives. */
async function restart(number) {
  console.log(`restart ${number}`);
  place.servers[number] = JSON.parse((await answers.next()).value);
}

/** The payload of a number: every third one is binary. */
const payload = (number) => (number % 3 === 0 ? Buffer.from(`binary ${number}`) : `text ${number}`);

/** The number of a payload, as a client was handed it. */
function number(data) {
  const text = typeof data === "string" ? data : Buffer.from(data).toString();
  const found = Number(text.split(" ")[1]);
  assert.equal(text, payload(found).toString());
  assert.equal(typeof data, typeof payload(found));
  return found;
}

/** Pushes durably, at either server in turns, and repeats it under its id until one says where in the log it is. */
async function pushLogged(user, data) {
  const headers = {
    "Content-Type": typeof data === "string" ? "text/plain" : "application/octet-stream",
    "Idempotency-Key": randomUUID(),
  };
  let turn = 0;
  return eventually("a server takes the push", async () => {
    const api = new Api(place.servers[turn++ % 2]);
    try {
      const { status, body } = await api.send("POST", `/v1/users/${user}/push?durable=true&deadline=1s`, data, headers);
      return status === 200 && !["unknown", "refused"].includes(body.logged) && body.logged;
    } catch {
      return false; // It was killed, and may have taken it.
    } finally {
      api.agent.destroy();
    }
  });
}

/** Pushes numbers to these users while both servers are killed and started again, and gives how many each was pushed. */
async function pushWhileServersAreKilled(users) {
  let stop = false;
  const publishers = users.map(async (user) => {
    let next = 0;
    for (; !stop; next += 1) {
      await pushLogged(user, payload(next));
      await sleep(PAUSE_MS);
    }
    return next;
  });
  for (const server of [0, 1, 0, 1]) {
    await sleep(ALIVE_MS);
    await killAndRestart(server);
  }
  await sleep(ALIVE_MS);
  stop = true;
  return Promise.all(publishers);
}

/** Pushes durably, and gives how many terminals have confirmed that. Others may be listed that a killed server had. */
async function pushUntilAcked(user, data) {
  const at = `/v1/users/${user}/push?durable=true&until=acked&deadline=10s`;
  return (await new Api(place.servers[0]).accepted("POST", at, data)).acked;
}

/** The numbers from 0 to one less than `count`. */
const upTo = (count) => Array.from({ length: count }, (_, index) => index);

module.exports = { number, pushLogged, pushUntilAcked, pushWhileServersAreKilled, restart, upTo };
