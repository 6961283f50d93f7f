"use strict";

const POLL_MS = 2000;
// Instances publish their counters with their lease, every few seconds: a rate is taken over more.
const RATE_WINDOW_MS = 12000;
const LOG_LINES = 200;
const KEY = "switchboard-api-key";
// Positions that are brought when the terminal comes back: a server looks for up to 16.
const POSITIONS = 4;
const CUT_MS = 5000;
const LONGEST_WAIT_MS = 30000;
// After these nobody comes back by himself.
const FINAL_CODES = [1002, 1007, 1009, 4001, 4002];

const CLOSE_CODES = {
  1000: "closed by this page",
  1002: "protocol error",
  1006: "no closing handshake",
  1007: "text is not UTF-8",
  1009: "frame too large",
  1012: "the instance goes away: connect again",
  4001: "kicked",
  4002: "the token has expired",
  4003: "slow consumer",
  4004: "ping timeout",
};

const at = (id) => document.getElementById(id);

let facts = { keys: false, auth: "open", terminals: null };
let key = sessionStorage.getItem(KEY) ?? "";
let socket = null;
// The log that the terminal follows: whose it is, the positions it holds, newest first, and how it comes back.
// Null while it follows none.
let follower = null;
const samples = new Map();

// Elements are made of texts, so that nothing that comes over a wire is read as HTML.
function element(name, content, className) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  if (className) made.className = className;
  return made;
}

function say(node, text, className) {
  node.textContent = text;
  node.className = className;
}

async function call(method, path, body) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Error("the server does not answer");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) askForKey(answer.error?.message);
  if (!response.ok) throw new Error(answer.error?.message ?? `status ${response.status}`);
  return answer;
}

function askForKey(message) {
  at("key-form").hidden = false;
  say(at("key-note"), message ?? "Kept in this tab only.", key ? "problem" : "quiet");
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  sessionStorage.setItem(KEY, key);
  say(at("key-note"), "Kept in this tab only.", "quiet");
  showInstances();
});

// Instances

function rate(instance, pushes, now) {
  const seen = (samples.get(instance) ?? []).filter((sample) => now - sample.now <= RATE_WINDOW_MS);
  if (seen.length > 0 && seen.at(-1).pushes > pushes) seen.length = 0;
  seen.push({ pushes, now });
  samples.set(instance, seen);
  const [first] = seen;
  return now > first.now ? ((pushes - first.pushes) * 1000) / (now - first.now) : null;
}

const perSecond = (value) => (value === null ? "–" : value.toFixed(value < 10 ? 1 : 0));

async function showInstances() {
  let instances;
  try {
    ({ instances } = await call("GET", "/v1/instances"));
  } catch (error) {
    // Where a key is asked for, its form says what is wrong.
    at("instances-note").textContent = at("key-form").hidden ? error.message : "";
    at("instances").className = "stale";
    return;
  }
  at("key-form").hidden = true;
  at("instances-note").textContent = "";
  at("instances").className = "";
  const now = performance.now();
  const rates = instances.map(({ instance, pushes }) => rate(instance, pushes, now));
  at("instances").replaceChildren(...instances.map((instance, index) => element("tr", [
    element("td", instance.this ? `${instance.instance} (this)` : instance.instance),
    element("td", instance.state, instance.state === "up" ? "good" : "bad"),
    element("td", instance.connections.toLocaleString(), "number"),
    element("td", perSecond(rates[index]), "number"),
    element("td", instance.address),
  ])));
  const connections = instances.reduce((sum, instance) => sum + instance.connections, 0);
  const known = rates.filter((value) => value !== null);
  at("total").textContent = `${instances.length} in all`;
  at("total-connections").textContent = connections.toLocaleString();
  at("total-rate").textContent = perSecond(known.length ? known.reduce((a, b) => a + b, 0) : null);
  for (const instance of samples.keys()) {
    if (!instances.some((other) => other.instance === instance)) samples.delete(instance);
  }
}

async function showReadiness() {
  const badge = at("ready");
  try {
    const response = await fetch("/health/ready", { cache: "no-store" });
    const { ready, reason } = await response.json();
    say(badge, ready ? "ready" : "not ready", ready ? "badge good" : "badge bad");
    badge.title = reason ?? "";
  } catch {
    say(badge, "no answer", "badge bad");
  }
}

async function poll() {
  if (!document.hidden) {
    const asks = facts.keys && !key ? [showReadiness()] : [showReadiness(), showInstances()];
    await Promise.all(asks);
  }
  setTimeout(poll, POLL_MS);
}

// Terminal

function log(list, content, className) {
  const time = element("time", new Date().toLocaleTimeString());
  list.append(element("li", [time, " ", content].flat(), className));
  while (list.childElementCount > LOG_LINES) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

function describe(data) {
  if (typeof data === "string") return data;
  const bytes = new Uint8Array(data);
  const hex = Array.from(bytes.slice(0, 32), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `binary, ${bytes.length} bytes: ${hex}${bytes.length > 32 ? " …" : ""}`;
}

function open() {
  const { user, token } = follower?.login ?? login();
  const query = [];
  if (facts.auth === "open") query.push(`user=${encodeURIComponent(user)}`);
  if (follower) query.push(...wanted(follower.positions));
  const separator = facts.terminals.includes("?") ? "&" : "?";
  const url = query.length ? `${facts.terminals}${separator}${query.join("&")}` : facts.terminals;
  if (facts.auth === "open") return new WebSocket(url);
  return new WebSocket(url, ["switchboard.v1", ...(token ? [`bearer.${token}`] : [])]);
}

const login = () => ({ user: at("connect-user").value, token: at("token").value.trim() });

const wanted = (positions) => (positions.length ? positions.map((position) => `after=${position}`) : ["log=1"]);

function connected(yes) {
  at("connect").textContent = socket || follower ? "Disconnect" : "Connect";
  for (const id of ["message", "send", "join", "leave"]) at(id).disabled = !yes;
  at("cut").disabled = !(yes && follower);
  at("follow").disabled = Boolean(socket || follower);
}

function connect() {
  const state = at("terminal-state");
  const frames = at("frames");
  let opened = false;
  let mine;
  try {
    mine = open();
  } catch (error) {
    log(frames, error.message, "bad");
    leave();
    return;
  }
  socket = mine;
  mine.binaryType = "arraybuffer";
  say(state, "connecting", "badge");
  connected(false);
  mine.onopen = () => {
    opened = true;
    say(state, "connected", "badge good");
    connected(true);
  };
  mine.onmessage = ({ data }) => receive(frames, data);
  mine.onclose = ({ code, reason }) => {
    const meaning = opened
      ? reason || CLOSE_CODES[code] || ""
      : "refused: user or token, this page's origin (--origins), or no server at this URL";
    say(state, `closed (${code})`, "badge bad");
    log(frames, `closed with ${code}${meaning ? `: ${meaning}` : ""}`, "bad");
    if (socket === mine) socket = null;
    comeBack(code, opened);
    connected(false);
  };
}

// The log

function receive(frames, data) {
  const record = follower?.announced;
  if (record) {
    follower.announced = null;
    stand([record.position, ...follower.positions]);
    log(frames, [element("code", record.position), " ", describe(data)]);
    return;
  }
  const own = follower && ownFrame(data);
  if (own?.message) {
    // Its payload is the next frame.
    follower.announced = own.message;
    return;
  }
  log(frames, describe(data));
  if (own) goOn(own);
}

// A frame of Switchboard's own. Null: a payload, also one that begins as these do.
function ownFrame(data) {
  if (typeof data !== "string" || !data.startsWith('{"switchboard":')) return null;
  try {
    return JSON.parse(data).switchboard;
  } catch {
    return null;
  }
}

// Where the log says that the terminal stands: what it holds beyond that is not in the log.
function goOn({ hello, log: late, gap, back }) {
  if (hello) follower.attempts = 0;
  const begun = hello?.log ?? late;
  const stands = begun ?? gap ?? back;
  if (!stands) return;
  const held = follower.positions.indexOf(stands.position);
  stand([stands.position, ...(held < 0 ? [] : follower.positions.slice(held + 1))]);
  if (gap || begun?.reason) say(at("log-note"), "something is missing", "bad");
  else if (back) say(at("log-note"), "went back: some may come again", "quiet");
  else say(at("log-note"), begun.resumed ? "resumed: nothing is missing" : "begins here", begun.resumed ? "good" : "quiet");
}

function stand(positions) {
  follower.positions = positions.slice(0, POSITIONS);
  at("position").textContent = positions[0];
}

function comeBack(code, wasOpen) {
  if (!follower) return;
  follower.announced = null;
  // One that was never connected, and is refused, stays away.
  if (FINAL_CODES.includes(code) || !(wasOpen || follower.positions.length)) return leave();
  const wait = follower.cut ? CUT_MS : Math.random() * Math.min(LONGEST_WAIT_MS, 1000 * 2 ** follower.attempts);
  follower.cut = false;
  follower.attempts += 1;
  say(at("log-note"), `comes back in ${(wait / 1000).toFixed(1)} s`, "quiet");
  follower.timer = setTimeout(connect, wait);
}

function leave() {
  clearTimeout(follower?.timer);
  follower = null;
  at("log-note").textContent = "";
  connected(false);
}

at("cut").addEventListener("click", () => {
  follower.cut = true;
  socket?.close(1000);
});

at("connect-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket || follower) {
    leave();
    socket?.close(1000);
    return;
  }
  if (at("follow").checked) {
    // What is typed while it is away is for the next terminal: positions are of one user's log.
    follower = { login: login(), positions: [], attempts: 0, announced: null, cut: false, timer: 0 };
  }
  at("log-line").hidden = !follower;
  at("position").textContent = "–";
  connect();
});

// A browser may keep a page that was left, with its connection, and answer the server's pings for it:
// what is pushed meanwhile would count as written, and nobody would see it.
addEventListener("pagehide", () => socket?.close(1000));

at("send-form").addEventListener("submit", (event) => {
  event.preventDefault();
  socket?.send(at("message").value);
  at("message").value = "";
});

// Push

// Users are named in bodies: of a path, a browser resolves some of what may be typed.
const named = () => at("push-user").value;

function showReceipt(receipt) {
  at("receipt").hidden = false;
  at("receipt").textContent = JSON.stringify(receipt, null, 2);
  const { written, queued, kept = 0, failed, degraded } = receipt;
  const counts = `${written} written, ${queued} queued${kept ? `, ${kept} kept` : ""}, ${failed} failed`;
  const nobody = written + queued + kept + failed === 0 ? " (nobody is connected)" : "";
  say(at("push-state"), counts + nobody + (degraded ? ", degraded" : ""), failed || degraded ? "bad" : "good");
}

async function attempt(work, state = "push-state") {
  try {
    await work();
  } catch (error) {
    if (state === "push-state") at("receipt").hidden = true;
    say(at(state), error.message, "bad");
  }
}

at("push-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const push = { users: [named()], text: at("push-text").value };
  const path = at("durable").checked ? "/v1/push?durable=true" : "/v1/push";
  attempt(async () => showReceipt(await call("POST", path, push)));
});

async function listConnections() {
  const user = named();
  const { connections, degraded } = await call("POST", "/v1/connections", { user });
  const count = connections.length === 1 ? "1 connection" : `${connections.length} connections`;
  say(at("push-state"), count + (degraded ? ", degraded: some may be missing" : ""), degraded ? "bad" : "");
  at("receipt").hidden = true;
  at("connections").replaceChildren(...connections.map(({ connection, instance }) => {
    const kick = element("button", "Kick");
    kick.type = "button";
    kick.addEventListener("click", () => attempt(async () => {
      showReceipt(await call("POST", "/v1/kick", { user, connections: [connection] }));
      kick.closest("li").remove();
    }));
    return element("li", [kick, ` ${connection} at ${instance}`]);
  }));
}

at("list").addEventListener("click", () => attempt(listConnections));

// Topic

const MEMBERS = 100;
const topic = () => at("topic").value;

for (const wish of ["join", "leave"]) {
  // The answer is a frame, which the terminal shows.
  at(wish).addEventListener("click", () => socket?.send(JSON.stringify({ switchboard: { [wish]: topic() } })));
}

async function pushToMembers() {
  const receipt = await call("POST", "/v1/push", { topics: [topic()], text: at("topic-text").value });
  const { written, queued, failed, degraded, instances } = receipt;
  const where = instances.length === 1 ? "1 instance" : `${instances.length} instances`;
  const counts = instances.length ? `${written} written, ${queued} queued, ${failed} failed, at ${where}` : "no member is known";
  say(at("topic-state"), counts + (degraded ? ", degraded" : ""), failed || degraded ? "bad" : "good");
}

async function listMembers() {
  const { count, members, next, instances, degraded } = await call("POST", `/v1/members?limit=${MEMBERS}`, { topic: topic() });
  const silent = instances.filter(({ answered }) => !answered).length;
  const total = count === 1 ? "1 member" : `${count} members`;
  const doubt = silent ? `, ${silent} of ${instances.length} instances silent` : degraded ? ", degraded: some may be missing" : "";
  say(at("topic-state"), total + (next && count > MEMBERS ? `, the first ${MEMBERS}` : "") + doubt, doubt ? "bad" : "");
  at("topic-members").replaceChildren(...members.map(({ user, connection }) => element("li", `${user}: ${connection}`)));
}

at("topic-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(pushToMembers, "topic-state");
});
at("members").addEventListener("click", () => attempt(listMembers, "topic-state"));

async function start() {
  try {
    facts = await (await fetch("/status.json", { cache: "no-store" })).json();
  } catch {
    at("instances-note").textContent = "the server does not answer";
  }
  at("version").textContent = facts.version ?? "";
  if (facts.keys && !key) askForKey();
  at("connect-user-label").hidden = facts.auth !== "open";
  at("token-label").hidden = facts.auth === "open";
  at("connect").disabled = !facts.terminals;
  at("terminal-url").textContent = facts.terminals ?? "this server does not know where terminals connect: set --public-url";
  poll();
}

start();
