#!/usr/bin/env bash
# Socket.IO on two servers with the adapter on Redis streams and connection state recovery. Redis hangs, is killed
# and comes back with its append-only file, while one server emits to a room whose members are at both.
#
# A good guess: the adapter "will properly handle any temporary disconnection to the Redis server" (its README), so
# the event is sent when Redis is back, or nobody gets it and somebody is told.
# What happens: a command that Redis had not answered fails, and the adapter then sends the event to the members
# at its own server alone. Those at the other one never get it, stay connected, and are not told; `emit` has
# returned true, and what fails is only in the debug log. Events of the time in which Redis is known to be away
# are sent later, to all.
# Seen with socket.io 4.8.4, its Redis streams adapter 0.3.1, redis 6.3.1, Node 20 and Redis 7.0.15.
set -euo pipefail
for command in redis-server redis-cli node npm; do
    command -v "$command" >/dev/null || { echo "needed: $command" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
timeout 300 npm install --silent --ignore-scripts --no-audit --no-fund \
    socket.io@4.8.4 socket.io-client@4.8.4 @socket.io/redis-streams-adapter@0.3.1 redis@6.3.1

cat >run.mjs <<'JS'
import { spawn } from "node:child_process";
import http from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const until = async (what) => { while (!(await what())) await sleep(50); };
let redis;
process.on("exit", () => redis.kill("SIGKILL"));
async function startRedis() {
  redis = spawn("redis-server", ["--port", "7394", "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"], { stdio: "ignore" });
  await until(() => new Promise((resolve) => {
    spawn("redis-cli", ["-p", "7394", "ping"]).on("close", (code) => resolve(code === 0));
  }));
}
await startRedis();

async function server() {
  const client = createClient({ url: "redis://127.0.0.1:7394" });
  client.on("error", () => {});
  await client.connect();
  const listener = http.createServer();
  const io = new Server(listener, { adapter: createAdapter(client), connectionStateRecovery: {} });
  io.on("connection", (socket) => socket.join("room"));
  await new Promise((resolve) => { listener.listen(0, "127.0.0.1", resolve); });
  return { io, client, url: `http://127.0.0.1:${listener.address().port}` };
}
const [near, far] = [await server(), await server()];

function member({ url }) {
  const got = { words: [], connects: 0 };
  const socket = connect(url, { transports: ["websocket"] });
  socket.on("word", (word) => got.words.push(word));
  socket.on("connect", () => { got.connects += 1; });
  return got;
}
const [here, there] = [member(near), member(far)];
await until(() => here.connects && there.connects);
await sleep(1000);

const emit = (word) => console.log(`emit ${word}: ${near.io.to("room").emit("word", word)}`);
emit("one");
await until(() => there.words.length === 1);
redis.kill("SIGSTOP");
emit("two");
await sleep(500);
redis.kill("SIGKILL");
await until(() => !near.client.isReady);
emit("three");
await startRedis();
await until(() => near.client.isReady && far.client.isReady);
await until(() => there.words.includes("three"));
emit("four");
await until(() => there.words.includes("four"));
await sleep(1000);
console.log(`member at the server that emits: ${here.words} (connected ${here.connects} time)`);
console.log(`member at the other one:         ${there.words} (connected ${there.connects} time)`);
const seen = JSON.stringify([here.words, here.connects, there.words, there.connects]);
const expected = JSON.stringify([["one", "two", "three", "four"], 1, ["one", "three", "four"], 1]);
if (seen !== expected) console.error("this is not what was seen");
process.exit(seen === expected ? 0 : 1);
JS
timeout 100 node run.mjs
