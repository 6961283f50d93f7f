// Processor time for a delivery to a room, on two servers of each system with a Redis between them, in turns: the
// systems run at the same time, and one at a time is pushed to. Arguments: --rooms N, --members N, --pushes N, --turns N;
// --users N instead of rooms: a user each, with one terminal, which for Socket.IO is a room and for nchan a channel.

import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { Redis, sleep } from "../recovery/processes.mjs";
import * as systems from "./contestants.mjs";

const { values } = parseArgs({
  options: {
    rooms: { type: "string", default: "100" },
    members: { type: "string", default: "100" },
    pushes: { type: "string", default: "1000" },
    turns: { type: "string", default: "5" },
    users: { type: "string" },
  },
});
if (values.users) Object.assign(values, { rooms: values.users, members: "1" });
const [rooms, members, pushes, turns] = ["rooms", "members", "pushes", "turns"].map((name) => Number(values[name]));
const payload = "x".repeat(100);
const PUBLISHERS = 8;

/** Processor time of a program with its workers, in microseconds. */
function spent({ child: { pid } }) {
  const workers = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
  const times = [pid, ...workers].map((one) => {
    const stat = readFileSync(`/proc/${one}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  });
  return times.reduce((a, b) => a + b);
}

function post(agent, port, target) {
  return new Promise((resolve, reject) => {
    const request = http.request({ port, host: "127.0.0.1", path: target, method: "POST", agent, headers: { "Content-Type": "text/plain" } }, (response) => {
      response.resume();
      response.on("end", () => (response.statusCode < 300 ? resolve() : reject(new Error(`${target}: ${response.statusCode}`))));
    });
    request.on("error", reject);
    request.end(payload);
  });
}

/** The terminals of a system, which connect if they are asked to. */
class Terminals {
  constructor(name) {
    this.child = fork(fileURLToPath(new URL("terminals.mjs", import.meta.url)), [name]);
    this.child.on("exit", (code) => { throw new Error(`the terminals of ${name} have ended: ${code}`); });
  }

  /** Connects these, each to a server and a room. Returns how many deliveries have come to all. */
  async connect(terminals) {
    this.child.send({ connect: terminals });
    const [received] = await once(this.child, "message");
    return received;
  }

  received = () => this.connect([]);
}

async function start(name) {
  const system = systems[name];
  const folder = await mkdtemp(path.join(os.tmpdir(), "rooms-"));
  const redis = await Redis.start(folder, false);
  const servers = [await system.server(folder, 0, redis.url), await system.server(folder, 1, redis.url)];
  const terminals = new Terminals(name);
  const state = { system, redis, servers, terminals, deliveries: [], redisTimes: [] };
  const room = (number) => `room-${number % rooms}`;
  const all = Array.from({ length: rooms * members }, (_, number) => number);
  while (all.length > 0) {
    // Every other member of a room is at the same server, and half of the first ones where their room is pushed to.
    const server = (number) => ({ terminals: servers[(Math.floor(number / rooms) + Math.floor((number % rooms) / 2)) % 2].terminals });
    await terminals.connect(all.splice(0, 100).map((number) => [server(number), room(number), number]));
  }
  console.error(`${system.name}: ${rooms * members} members are connected`);
  return state;
}

async function turn(state, counts) {
  const { system, servers, redis, terminals } = state;
  const before = { received: await terminals.received(), servers: servers.map(({ program }) => spent(program)), redis: spent(redis.primary.program) };
  let next = 0;
  // A server ends connections on which nothing comes, as they would between turns.
  const agent = new http.Agent({ keepAlive: true, maxSockets: PUBLISHERS });
  await Promise.all(Array.from({ length: PUBLISHERS }, async () => {
    while (next < pushes) {
      const number = next;
      next += 1;
      await post(agent, servers[number % 2].api, system.push(`room-${number % rooms}`));
    }
  }));
  agent.destroy();
  const expected = before.received + pushes * members;
  for (let tries = 0, missing; (missing = expected - await terminals.received()) > 0; tries += 1) {
    if (tries > 3000) throw new Error(`${system.name}: ${missing} of ${pushes * members} deliveries are missing`);
    await sleep(10);
  }
  await sleep(200);
  const tooMany = await terminals.received() - expected;
  if (tooMany > 0) throw new Error(`${system.name}: ${tooMany} deliveries too many`);
  if (!counts) return;
  const took = servers.map(({ program }, index) => spent(program) - before.servers[index]).reduce((a, b) => a + b);
  state.deliveries.push(took / (pushes * members));
  state.redisTimes.push((spent(redis.primary.program) - before.redis) / (pushes * members));
}

const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];

const states = [];
for (const name of [values.users ? "switchboardUsers" : "switchboard", "socketio", "nchan"]) states.push(await start(name));
for (let number = 0; number <= turns; number += 1) {
  // The first turn fills caches.
  for (const state of states) await turn(state, number > 0);
}
const own = median(states[0].deliveries);
const what = values.users ? `${rooms} users with one terminal each` : `${rooms} rooms of ${members} members`;
console.log(`${what} on two servers, ${payload.length} B, ${pushes} pushes a turn, medians of ${turns} turns:\n`);
console.log("| system | us of both servers a delivery | beside Switchboard | us of Redis a delivery |\n|---|---|---|---|");
for (const { system, deliveries, redisTimes } of states) {
  const each = median(deliveries);
  console.log(`| ${system.name} | ${each.toFixed(2)} | ${(each / own).toFixed(2)} x | ${median(redisTimes).toFixed(2)} |`);
}
process.exit(0);
