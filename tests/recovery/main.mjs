// Compares what is lost, and who is told: the same faults at the same time for Switchboard, Centrifugo and Socket.IO.
// `.ci/compare-recovery` gets what this needs. Arguments: --seed N, --only TEXT, --folder FOLDER, for logs and, in
// details.json, the faults, what was lost, and who was told.

import { randomUUID } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";

import * as centrifugo from "./centrifugo.mjs";
import { Relay } from "./network.mjs";
import { Redis, sleep } from "./processes.mjs";
import { scenarios } from "./schedule.mjs";
import * as socketio from "./socketio.mjs";
import * as switchboard from "./switchboard.mjs";

const SYSTEMS = [switchboard, centrifugo, socketio];

/** How long after the last push clients may take: longer than the checks by which servers find what they have missed. */
const SETTLE_MS = 100_000;

/** How long to watch for what comes twice when everything has come. */
const WATCH_MS = 3000;

/** How long clients may take to connect at the beginning. */
const CONNECT_MS = 3000;

const PUSH_TIMEOUT_MS = 3000;
const PUSH_PAUSE_MS = 200;

/** Servers of a system, its Redis, clients, and what they were pushed. */
class Run {
  static async start(system, scenario, folder) {
    const run = new Run(system);
    run.redis = await Redis.start(folder, scenario.replicated);
    run.servers = await Promise.all([0, 1].map((number) => system.server(folder, number, run.redis.url)));
    await Promise.all(run.servers.map(({ program, terminals }) => program.start(terminals)));
    run.clients = await Promise.all(Array.from({ length: scenario.clients }, (_, number) => run.#client(number)));
    return run;
  }

  constructor(system) {
    this.system = system;
  }

  async #client(number) {
    const relay = await Relay.start(this.servers.map(({ terminals }) => terminals), number);
    const client = { name: `client${number}`, relay, pushed: [], taken: new Set(), received: new Map(), told: [], publishing: Promise.resolve() };
    const received = (text) => client.received.set(text, (client.received.get(text) ?? 0) + 1);
    client.stop = this.system.connect(relay.port, client.name, received, () => client.told.push(Date.now()));
    return client;
  }

  /** Pushes to a client once it was pushed what came before. */
  push(number) {
    const client = this.clients[number];
    client.publishing = client.publishing.then(() => this.#pushNext(client));
  }

  async #pushNext(client) {
    const text = `${client.name} ${client.pushed.length}`;
    client.pushed.push({ text, at: Date.now() });
    const { path: at, headers, body, taken } = this.system.push(client.name, text, randomUUID());
    for (let turn = client.pushed.length; ; turn += 1) {
      const answer = await post(this.servers[turn % 2].api, at, headers, body);
      if (answer && taken(answer)) return client.taken.add(text);
      await sleep(PUSH_PAUSE_MS);
    }
  }

  fault({ kind, lasts, client, server, silent }) {
    const ms = lasts * 1000;
    switch (kind) {
      case "cut": return this.clients[client].relay.cut(ms, silent);
      case "kill": return this.#kill(this.servers[server], ms);
      // One at a time.
      case "restart": return this.#ofRedis(() => this.redis.restart(ms, false));
      case "empty": return this.#ofRedis(() => this.redis.restart(ms, true));
      case "failover": return this.#ofRedis(() => this.redis.failOver(ms));
      default: throw new Error(kind);
    }
  }

  async #kill(server, ms) {
    if (server.away) return;
    server.away = true;
    await server.program.kill();
    await sleep(ms);
    await server.program.start(server.terminals);
    server.away = false;
  }

  #ofRedis(fault) {
    this.faulting = (this.faulting ?? Promise.resolve()).then(fault);
    return this.faulting;
  }

  published() {
    return Promise.all(this.clients.map(({ publishing }) => publishing));
  }

  /** Whether each client has each push, or knows that something is missing. */
  complete() {
    return this.count().silent === 0;
  }

  /** What became of the pushes. Lost and told: the client learned that something was missing after that push was handed in. */
  count() {
    const counts = { pushed: 0, delivered: 0, silent: 0, told: 0, doubled: 0, tellings: 0 };
    for (const { pushed, received, told } of this.clients) {
      for (const { text, at } of pushed) {
        const times = received.get(text) ?? 0;
        counts.pushed += 1;
        if (times > 0) counts.delivered += 1;
        else if (told.some((time) => time >= at)) counts.told += 1;
        else counts.silent += 1;
        if (times > 1) counts.doubled += 1;
      }
      counts.tellings += told.length;
    }
    return counts;
  }

  /** Which pushes were lost, silently or not, with the second in which they were handed in, and who was told when. */
  details(begin) {
    const seconds = (time) => (time - begin) / 1000;
    const lost = (client) => client.pushed.filter(({ text }) => !client.received.has(text));
    return {
      system: this.system.name,
      lost: this.clients.flatMap((client) => lost(client).map(({ text, at }) => [text, seconds(at), client.told.some((time) => time >= at)])),
      told: this.clients.flatMap((client) => client.told.map((time) => [client.name, seconds(time)])),
    };
  }

  async close() {
    for (const { stop, relay } of this.clients) {
      stop();
      relay.close();
    }
    await Promise.all(this.servers.map(({ program }) => program.kill()));
    await this.redis.close();
  }
}

/** The JSON of an answer 200, or nothing. */
function post(port, at, headers, body) {
  return new Promise((resolve) => {
    const request = http.request({ host: "127.0.0.1", port, path: at, method: "POST", headers, agent: false, timeout: PUSH_TIMEOUT_MS }, async (response) => {
      try {
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve(response.statusCode === 200 ? JSON.parse(text) : null);
      } catch {
        resolve(null);
      }
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(null));
    request.end(body);
  });
}

/** Runs a scenario for all systems side by side, and gives what each made of it. */
async function play(scenario, folder) {
  const runs = await Promise.all(SYSTEMS.map((system) => Run.start(system, scenario, path.join(folder, system.name))));
  await sleep(CONNECT_MS);
  const begin = performance.now();
  const clock = Date.now();
  const at = (seconds) => sleep(begin + seconds * 1000 - performance.now());
  const faults = scenario.faults.map(async (fault) => {
    await at(fault.at);
    await Promise.all(runs.map((run) => run.fault(fault)));
  });
  for (const push of scenario.pushes) {
    await at(push.at);
    for (const run of runs) run.push(push.client);
  }
  await Promise.all([...faults, ...runs.map((run) => run.published())]);
  for (const end = performance.now() + SETTLE_MS; performance.now() < end && !runs.every((run) => run.complete()); await sleep(500));
  await sleep(WATCH_MS);
  const counts = runs.map((run) => run.count());
  const systems = runs.map((run) => run.details(clock));
  await writeFile(path.join(folder, "details.json"), JSON.stringify({ faults: scenario.faults, systems }));
  await Promise.all(runs.map((run) => run.close()));
  return counts;
}

const { values } = parseArgs({ options: { seed: { type: "string", default: "1" }, only: { type: "string", default: "" }, folder: { type: "string" } } });
const folder = values.folder ?? await mkdtemp(path.join(os.tmpdir(), "recovery-"));
const chosen = scenarios(Number(values.seed), values.only);
if (chosen.length === 0) throw new Error(`no scenario is called ${values.only}`);
console.error(`logs: ${folder}`);
console.log("| what happens | system | pushed | delivered | lost silently | lost and told | doubled | times that clients were told |");
console.log("|---|---|---|---|---|---|---|---|");
for (const [index, scenario] of chosen.entries()) {
  const counts = await play(scenario, path.join(folder, String(index)));
  for (const [number, { pushed, delivered, silent, told, doubled, tellings }] of counts.entries()) {
    console.log(`| ${[number === 0 ? scenario.name : "", SYSTEMS[number].name, pushed, delivered, silent, told, doubled, tellings].join(" | ")} |`);
  }
}
process.exit(0);
