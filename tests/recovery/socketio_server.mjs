// A server on Socket.IO as its documentation sets it up for recovery on several servers: `socketio_server.mjs PORT REDIS`.

import http from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, url] = process.argv.slice(2);
const redis = createClient({ url });
redis.on("error", (error) => console.error(error.message));
await redis.connect();

const server = http.createServer(async (request, response) => {
  let text = "";
  for await (const chunk of request) text += chunk;
  io.to(request.url.split("/")[2]).emit("push", text);
  response.end("{}");
});

const io = new Server(server, {
  adapter: createAdapter(redis),
  // As long as Switchboard's log and Centrifugo's history are kept here.
  connectionStateRecovery: { maxDisconnectionDuration: 10 * 60 * 1000 },
});
io.on("connection", (socket) => {
  if (socket.recovered) return;
  socket.join(socket.handshake.auth.client);
  socket.emit("welcome"); // a client has no offset to recover from until it has received something
});

server.listen(Number(port), "127.0.0.1");
