// Centrifugo: channels with a history and recovery, and the client centrifuge-js.

import { writeFile } from "node:fs/promises";
import path from "node:path";
import { Centrifuge } from "centrifuge";
import WebSocket from "ws";

import { freePort } from "./network.mjs";
import { Program } from "./processes.mjs";

export const name = "Centrifugo";

const KEY = "a key of this comparison";

/** One of its servers. History is as long as Switchboard's log; recovery is on, and positions with it. */
export async function server(folder, number, redis) {
  const port = await freePort();
  const config = {
    http_server: { address: "127.0.0.1", port: String(port) },
    http_api: { key: KEY },
    client: { insecure: true, allowed_origins: ["*"] },
    channel: {
      namespaces: [{ name: "user", history_size: 100, history_ttl: "600s", force_recovery: true, allow_subscribe_for_client: true, allow_subscribe_for_anonymous: true }],
    },
    engine: { type: "redis", redis: { address: redis } },
  };
  const file = path.join(folder, `centrifugo-${number}.json`);
  await writeFile(file, JSON.stringify(config));
  const program = new Program(path.join(folder, `centrifugo-${number}.log`), process.env.CENTRIFUGO_BIN, ["--config", file]);
  return { program, terminals: port, api: port };
}

/** A push to a client: what is sent to a server's API, and whether its answer says that it was taken. */
export const push = (client, text, id) => ({
  path: "/api/publish",
  headers: { "Content-Type": "application/json", "X-API-Key": KEY },
  body: JSON.stringify({ channel: `user:${client}`, data: { text }, idempotency_key: id }),
  taken: (answer) => answer.result !== undefined,
});

/** Connects a client. `missing` is called when it learns that something is lost. */
export function connect(port, client, received, missing) {
  const centrifuge = new Centrifuge(`ws://127.0.0.1:${port}/connection/websocket`, { websocket: WebSocket });
  const subscription = centrifuge.newSubscription(`user:${client}`, { recoverable: true, positioned: true });
  subscription.on("publication", ({ data }) => received(data.text));
  subscription.on("subscribed", ({ wasRecovering, recovered }) => { if (wasRecovering && !recovered) missing(); });
  subscription.on("unsubscribed", ({ code, reason }) => console.error(`Centrifugo has unsubscribed ${client}: ${code} ${reason}`));
  centrifuge.on("error", () => {});
  subscription.on("error", () => {});
  subscription.subscribe();
  centrifuge.connect();
  return () => { subscription.removeAllListeners(); centrifuge.disconnect(); };
}
