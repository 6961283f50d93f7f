// Programs that end with this one, and a Redis that is killed, emptied and failed over.

import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import net from "node:net";
import path from "node:path";

import { Relay, freePort } from "./network.mjs";

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

const running = new Set();
process.on("exit", () => { for (const child of running) child.kill("SIGKILL"); });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** A program that is killed and started again, with the same arguments and the same log. If it ends by itself it is
 * started again as well, as a supervisor does: some do not start while their Redis is away. */
export class Program {
  constructor(log, command, args, env = {}) {
    Object.assign(this, { log, command, args, env: { PATH: process.env.PATH, ...env }, wanted: false });
  }

  /** Starts it, and waits until it listens at this port. */
  async start(port) {
    await mkdir(path.dirname(this.log), { recursive: true });
    this.wanted = true;
    this.#spawn();
    for (let tries = 0; !(await listens(port)); tries += 1) {
      if (tries > START_TRIES) throw new Error(`${this.command} does not start: see ${this.log}`);
      await sleep(START_PAUSE_MS);
    }
  }

  async kill() {
    this.wanted = false;
    this.child.kill("SIGKILL");
    await this.ended;
  }

  #spawn() {
    const log = openSync(this.log, "a");
    const child = spawn(this.command, this.args, { stdio: ["ignore", log, log], env: this.env });
    closeSync(log);
    running.add(child);
    this.child = child;
    this.ended = new Promise((resolve) => { child.on("close", resolve); }).then(() => {
      running.delete(child);
      setTimeout(() => { if (this.wanted && this.child === child) this.#spawn(); }, SUPERVISOR_MS);
    });
  }
}

const SUPERVISOR_MS = 500;

/** A minute. */
const START_TRIES = 3000;
const START_PAUSE_MS = 20;

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.on("connect", () => { socket.destroy(); resolve(true); });
    socket.on("error", () => resolve(false));
  });
}

/** A Redis with an append-only file, at an address that stays, and if asked for a copy that follows it. */
export class Redis {
  static async start(folder, replicated) {
    const redis = new Redis();
    Object.assign(redis, { folder, replicated, copies: 0 });
    redis.primary = await redis.#another();
    redis.relay = await Relay.start([redis.primary.port]);
    redis.url = `redis://127.0.0.1:${redis.relay.port}`;
    if (replicated) redis.copy = await redis.#another(redis.primary.port);
    return redis;
  }

  /** Kills it and starts it again, with what its append-only file says or with nothing. */
  async restart(ms, emptied) {
    await this.primary.program.kill();
    if (emptied) await rm(this.primary.folder, { recursive: true });
    await sleep(ms);
    await mkdir(this.primary.folder, { recursive: true });
    await this.primary.program.start(this.primary.port);
    if (this.replicated) await follows(this.copy.port);
  }

  /** Stops its copy from following it, kills it after so long, and has the copy take its place a second later. */
  async failOver(ms) {
    await ask(this.copy.port, "REPLICAOF NO ONE", "+OK");
    await sleep(ms);
    await this.primary.program.kill();
    this.relay.targets = [this.copy.port];
    await this.relay.cut(FAILOVER_MS);
    this.primary = this.copy;
    this.copy = await this.#another(this.primary.port);
  }

  async close() {
    this.relay.close();
    await this.primary.program.kill();
    await this.copy?.program.kill();
  }

  async #another(followed) {
    this.copies += 1;
    const port = await freePort();
    const folder = path.join(this.folder, `redis-${this.copies}`);
    await mkdir(folder, { recursive: true });
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0"];
    const program = new Program(path.join(this.folder, `redis-${this.copies}.log`), "redis-server", args);
    await program.start(port);
    if (followed) {
      // Not among its arguments: it may be the primary when it starts again.
      await ask(port, `REPLICAOF 127.0.0.1 ${followed}`, "+OK");
      await follows(port);
    }
    return { program, port, folder };
  }
}

/** Between the end of a primary and the moment when its copy takes its place. */
const FAILOVER_MS = 1000;

const follows = (port) => ask(port, "INFO replication", "master_link_status:up");

/** Repeats an inline command until the answer contains a text. */
async function ask(port, command, expected) {
  for (let tries = 0; tries < 300; tries += 1) {
    const answer = await new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => socket.write(`${command}\r\nQUIT\r\n`));
      let text = "";
      socket.on("data", (data) => { text += data; });
      socket.on("error", () => {});
      socket.on("close", () => resolve(text));
    });
    if (answer.includes(expected)) return;
    await sleep(50);
  }
  throw new Error(`Redis at ${port} does not answer ${command} with ${expected}`);
}
