// What is compared: how two servers of each are started, how a member of a room connects, and how a room is pushed to.

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";

import { freePort } from "../recovery/network.mjs";
import { Program, sleep } from "../recovery/processes.mjs";

const options = { perMessageDeflate: false };

/** Rooms are topics, which terminals join by themselves. */
export const switchboard = {
  name: "Switchboard",
  async server(folder, number, redis) {
    const [terminals, api, peer] = [await freePort(), await freePort(), await freePort()];
    const at = (port) => `127.0.0.1:${port}`;
    const args = ["serve", "--redis", redis, "--workers", "1", "--listen", at(terminals), "--api", at(api), "--peer", at(peer)];
    const secret = { SWITCHBOARD_CLUSTER_SECRET: "a secret of this comparison" };
    const program = new Program(path.join(folder, `switchboard-${number}.log`), process.env.SWITCHBOARD_BIN, args, secret);
    await program.start(api);
    return { program, terminals, api };
  },
  connect(server, room, number, received) {
    const socket = new WebSocket(`ws://127.0.0.1:${server.terminals}/connect?user=member-${number}`, options);
    return new Promise((resolve, reject) => {
      let heard = 0;
      socket.on("error", reject);
      socket.on("message", () => {
        heard += 1;
        if (heard === 1) socket.send(JSON.stringify({ switchboard: { join: room } }));
        else if (heard === 2) resolve(socket);
        else received();
      });
    });
  },
  push: (room) => `/v1/topics/${room}/push`,
};

/** A room is a user, who is pushed to without a topic. */
export const switchboardUsers = {
  ...switchboard,
  connect(server, room, number, received) {
    const socket = new WebSocket(`ws://127.0.0.1:${server.terminals}/connect?user=${room}`, options);
    return new Promise((resolve, reject) => {
      let heard = 0;
      socket.on("error", reject);
      socket.on("message", () => {
        heard += 1;
        if (heard === 1) resolve(socket);
        else received();
      });
    });
  },
  push: (room) => `/v1/users/${room}/push`,
};

/** Rooms of Socket.IO with the Redis adapter; its protocol is spoken by hand, so that clients cost the same for all. */
export const socketio = {
  name: "Socket.IO",
  async server(folder, number, redis) {
    const port = await freePort();
    const script = fileURLToPath(new URL("socketio_server.mjs", import.meta.url));
    const program = new Program(path.join(folder, `socketio-${number}.log`), process.execPath, [script, String(port), redis]);
    await program.start(port);
    return { program, terminals: port, api: port };
  },
  connect(server, room, number, received) {
    const socket = new WebSocket(`ws://127.0.0.1:${server.terminals}/socket.io/?EIO=4&transport=websocket&room=${room}`, options);
    return new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("message", (data) => {
        const text = data.toString();
        if (text.startsWith("0")) socket.send("40");
        else if (text.startsWith("40")) resolve(socket);
        else if (text === "2") socket.send("3");
        else received();
      });
    });
  },
  push: (room) => `/push/${room}`,
};

/** Channels of nchan, an nginx module, with Redis between two nginx. */
export const nchan = {
  name: "nchan",
  async server(folder, number, redis) {
    const port = await freePort();
    const own = path.join(folder, `nchan-${number}`);
    await mkdir(own, { recursive: true });
    const conf = path.join(own, "nginx.conf");
    await writeFile(conf, `
      load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
      daemon off; master_process off; pid ${own}/pid; error_log ${own}/error.log;
      worker_rlimit_nofile 65536;
      events { worker_connections 32768; }
      http {
        access_log off;
        client_body_temp_path ${own}/body; proxy_temp_path ${own}/proxy; fastcgi_temp_path ${own}/fastcgi;
        uwsgi_temp_path ${own}/uwsgi; scgi_temp_path ${own}/scgi;
        upstream redis { nchan_redis_server ${redis}; }
        server {
          listen 127.0.0.1:${port};
          location ~ ^/sub/(.+)$ { nchan_subscriber websocket; nchan_channel_id $1; nchan_redis_pass redis; nchan_subscriber_first_message newest; }
          location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1; nchan_redis_pass redis; nchan_store_messages off; }
        }
      }`);
    const program = new Program(path.join(folder, `nchan-${number}.log`), "nginx", ["-p", own, "-c", conf]);
    await program.start(port);
    // It serves before it has connected to Redis, and answers 503.
    for (let tries = 0; (await fetch(`http://127.0.0.1:${port}/pub/first`, { method: "POST", body: "x" })).status !== 202; tries += 1) {
      if (tries > 100) throw new Error("nchan does not take a message: see its log");
      await sleep(50);
    }
    return { program, terminals: port, api: port };
  },
  connect(server, room, number, received) {
    const socket = new WebSocket(`ws://127.0.0.1:${server.terminals}/sub/${room}`, options);
    return new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("open", () => resolve(socket));
      socket.on("message", received);
    });
  },
  push: (room) => `/pub/${room}`,
};
