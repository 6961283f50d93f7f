// Switchboard: durable pushes, and the example client of docs/clients.

import path from "node:path";
import WebSocket from "ws";

import { follow } from "../../docs/clients/follow.mjs";
import { freePort } from "./network.mjs";
import { Program } from "./processes.mjs";

export const name = "Switchboard";

/** One of its servers. */
export async function server(folder, number, redis) {
  const [terminals, api, peer] = await Promise.all([freePort(), freePort(), freePort()]);
  const at = (port) => `127.0.0.1:${port}`;
  const args = ["serve", "--redis", redis, "--workers", "1", "--listen", at(terminals), "--api", at(api), "--peer", at(peer)];
  const program = new Program(path.join(folder, `switchboard-${number}.log`), process.env.SWITCHBOARD_BIN, args, { SWITCHBOARD_CLUSTER_SECRET: "a secret of this comparison" });
  return { program, terminals, api };
}

/** A push to a client: what is sent to a server's API, and whether its answer says that it was taken. */
export const push = (client, text, id) => ({
  path: `/v1/users/${client}/push?durable=true`,
  headers: { "Content-Type": "text/plain", "Idempotency-Key": id },
  body: text,
  taken: (answer) => !["unknown", "refused"].includes(answer.logged),
});

/** Connects a client. `missing` is called when it learns that something is lost. */
export function connect(port, client, received, missing) {
  const { stop } = follow(`ws://127.0.0.1:${port}/connect?user=${client}`, { record: received, missing, WebSocket });
  return stop;
}
