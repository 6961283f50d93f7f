// Socket.IO: rooms, connection state recovery, the adapter on Redis streams, and the client socket.io-client.

import path from "node:path";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";

import { freePort } from "./network.mjs";
import { Program } from "./processes.mjs";

export const name = "Socket.IO";

const SERVER = fileURLToPath(new URL("socketio_server.mjs", import.meta.url));

/** The adapter handles no error of some commands, by which Node would end: a Redis that refuses writes causes one. */
const LENIENT = ["--unhandled-rejections=warn"];

/** One of its servers. */
export async function server(folder, number, redis) {
  const port = await freePort();
  const program = new Program(path.join(folder, `socketio-${number}.log`), process.execPath, [...LENIENT, SERVER, String(port), redis]);
  return { program, terminals: port, api: port };
}

/** A push to a client: what is sent to a server, and whether its answer says that it was taken. `emit` says no more, and knows no ids. */
export const push = (client, text) => ({
  path: `/push/${client}`,
  headers: { "Content-Type": "text/plain" },
  body: text,
  taken: () => true,
});

/** Connects a client. `missing` is called when it learns that something is lost. */
export function connect(port, client, received, missing) {
  // Without polling no sticky sessions are needed.
  const socket = io(`http://127.0.0.1:${port}`, { transports: ["websocket"], auth: { client }, forceNew: true });
  let before = false;
  socket.on("push", received);
  socket.on("connect", () => {
    if (before && !socket.recovered) missing();
    before = true;
  });
  return () => socket.disconnect();
}
