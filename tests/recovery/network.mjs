// The network between programs of one machine: relays that choose, cut and fall silent.

import net from "node:net";

/** A port of this machine that nobody uses, and that is given to nobody else by this process. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const tried = 20_000 + Math.floor(Math.random() * 10_000); // below those that the kernel gives to whoever asks for any
    const server = net.createServer().on("error", () => resolve(freePort()));
    server.listen(tried, "127.0.0.1", () => server.close((error) => {
      if (error) return reject(error);
      resolve(given.has(tried) ? freePort() : (given.add(tried), tried));
    }));
  });
}

const given = new Set();

/** Passes connections on to the first of its targets that answers; connections begin at another one in turns. */
export class Relay {
  static async start(targets, turn = 0) {
    const relay = new Relay(targets, turn);
    relay.port = await freePort();
    await new Promise((resolve) => { relay.server.listen(relay.port, "127.0.0.1", resolve); });
    return relay;
  }

  constructor(targets, turn) {
    this.targets = targets;
    this.turn = turn;
    this.cuts = 0; // that last
    this.pairs = new Set();
    this.server = net.createServer((near) => this.#accept(near));
  }

  /** Ends all connections, and accepts none for so long. If `silent`, they stay open and carry nothing, and end afterwards. */
  async cut(ms, silent = false) {
    this.cuts += 1;
    if (silent) for (const [near, far] of this.pairs) hush(near, far);
    else this.#end();
    await new Promise((resolve) => { setTimeout(resolve, ms); });
    this.#end();
    this.cuts -= 1;
  }

  close() {
    this.cuts += 1;
    this.#end();
    this.server.close();
  }

  #end() {
    for (const [near, far] of this.pairs) {
      near.destroy();
      far.destroy();
    }
    this.pairs.clear();
  }

  #accept(near) {
    near.on("error", () => {});
    if (this.cuts > 0) return near.destroy();
    this.turn += 1;
    this.#pass(near, this.targets.map((_, index) => this.targets[(this.turn + index) % this.targets.length]));
  }

  #pass(near, [target, ...others]) {
    if (target === undefined || near.destroyed) return near.destroy();
    const far = net.connect(target, "127.0.0.1");
    const pair = [near, far];
    this.pairs.add(pair);
    const ended = () => {
      this.pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    let connected = false;
    far.on("connect", () => {
      connected = true;
      near.pipe(far).pipe(near);
      near.on("close", ended);
    });
    far.on("error", () => {});
    far.on("close", () => {
      if (connected) return ended();
      this.pairs.delete(pair);
      this.#pass(near, others);
    });
  }
}

function hush(near, far) {
  near.unpipe(far);
  far.unpipe(near);
  near.pause();
  far.pause();
}
