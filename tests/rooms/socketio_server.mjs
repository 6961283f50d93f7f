// A server on Socket.IO with its Redis adapter, as its documentation sets it up: `socketio_server.mjs PORT REDIS`.

import http from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, url] = process.argv.slice(2);
const publisher = createClient({ url });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const server = http.createServer(async (request, response) => {
  let text = "";
  for await (const chunk of request) text += chunk;
  io.to(request.url.split("/")[2]).emit("push", text);
  response.end("{}");
});

const io = new Server(server, { adapter: createAdapter(publisher, subscriber), transports: ["websocket"], perMessageDeflate: false });
io.on("connection", (socket) => { socket.join(socket.handshake.query.room); });
server.listen(Number(port), "127.0.0.1");
