// A terminal on Node's `ws`, with its default settings, and payloads that are easily bent on the way.
"use strict";

const WebSocket = require("ws");
const { assert, within } = require("./check");

class Terminal {
  /** Connects, and waits for the hello. */
  static async open(url, options) {
    const terminal = new Terminal(url, options);
    await within(terminal.opened, `a handshake with ${url}`);
    terminal.uuid = hello(await terminal.frame());
    return terminal;
  }

  /** Status, headers and body of the answer to a handshake that is refused. */
  static refused(url, options) {
    const { socket } = new Terminal(url, options);
    return within(new Promise((resolve, reject) => {
      socket.on("open", () => reject(new Error(`${url} was not refused`)));
      socket.on("unexpected-response", async (_, response) => {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        resolve({ status: response.statusCode, headers: response.headers, body: JSON.parse(Buffer.concat(chunks)) });
      });
    }), `a refusal by ${url}`);
  }

  constructor(url, { protocols = [], ...options } = {}) {
    this.socket = new WebSocket(url, protocols, options);
    this.arrived = [];
    this.waiting = [];
    this.pings = 0;
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
    });
    this.opened.catch(() => {}); // Told by those who wait for it.
    this.socket.on("error", () => {}); // `close` follows, and tells it.
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve({ code, reason: String(reason) }));
    });
    this.socket.on("ping", () => { this.pings += 1; });
    this.socket.on("message", (data, isBinary) => {
      const frame = isBinary ? data : data.toString();
      const next = this.waiting.shift();
      if (next) next(frame);
      else this.arrived.push(frame);
    });
  }

  /** The next frame: a string if it is text, a buffer if it is binary. */
  frame() {
    const next = this.arrived.length > 0
      ? Promise.resolve(this.arrived.shift())
      : new Promise((resolve) => this.waiting.push(resolve));
    return within(next, "a frame");
  }

  /** Code and reason with which it ends. */
  ending() {
    return within(this.closed, "the end of the connection");
  }
}

/** The UUID in a hello without a doubt. */
function hello(frame) {
  const { switchboard } = JSON.parse(frame);
  assert.deepEqual(Object.keys(switchboard), ["hello"]);
  assert.deepEqual(Object.keys(switchboard.hello), ["uuid"]);
  assert.match(switchboard.hello.uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  return switchboard.hello.uuid;
}

/** Texts and bytes at every boundary of the framing, up to the largest push that is allowed. */
function payloads(largest) {
  const bytes = (length) => Buffer.from({ length }, (_, index) => (index * 31 + length) % 256);
  return [
    "",
    "plain",
    "\u{feff}a mark, a \u0000, \r\n, ümlaut, 漢字, \u{1f44d}\u{1f3fd}, \u{10ffff}",
    "{\"switchboard\": 1, \"and\": 2}",
    "é".repeat(largest / 2),
    ...[0, 1, 125, 126, 127, 65_535, 65_536, largest].map(bytes),
  ];
}

module.exports = { Terminal, payloads };
