// Follows a user's log: each record once and in its order, over as many connections as it takes (../protocol.md#the-log).
// For browsers as it is; for Node with the WebSocket of the package `ws`.

const POSITIONS = 8; // that are offered on return; a server reads up to 16
const IDS = 1000; // of records that are known again: more than a log keeps by default
const CONFIRM_MS = 1000, CONFIRM_RECORDS = 64; // after so long, or so many, it confirms what it has taken
const FINAL = [1002, 1007, 1009, 4001]; // closes after which nobody comes back by itself

/** `record(data, id)` and `plain(data)` get what is pushed. When `missing()` is called something is lost: ask your server. */
export function follow(url, { record, plain, missing, ended, token, after = [], WebSocket = globalThis.WebSocket }) {
  const ids = new Set();
  let positions = after, attempts = 0, turn = 0, socket, timer; // positions: the newest first

  async function connect(mine) {
    const protocols = token ? ["switchboard.v1", `bearer.${await token()}`] : [];
    if (mine !== turn) return;
    const target = new URL(url);
    if (positions.length === 0) target.searchParams.set("log", "1");
    for (const position of positions) target.searchParams.append("after", position);
    let announced = null, unconfirmed = 0, due = null;
    const opened = socket = new WebSocket(target, protocols);
    const confirm = () => {
      clearTimeout(due);
      [unconfirmed, due] = [0, null];
      if (opened.readyState === 1) opened.send(JSON.stringify({ switchboard: { ack: positions[0] } }));
    };
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (mine !== turn) return;
      const message = announced;
      announced = message ? null : read(data);
      if (!message) return;
      take(message, data);
      unconfirmed += 1;
      if (unconfirmed >= CONFIRM_RECORDS) confirm();
      else due ??= setTimeout(confirm, CONFIRM_MS);
    };
    socket.onerror = () => {}; // `close` follows
    socket.onclose = ({ code }) => { if (mine === turn) later(code); };
  }
  function take({ position, id }, data) {
    if (!ids.has(id)) record(data, id); // after a gap and after `back` it may come again
    if (ids.add(id).size > IDS) ids.delete(ids.values().next().value);
    positions = [position, ...positions].slice(0, POSITIONS);
  }
  function read(data) { // gives what announces that the next frame is a record
    const own = ownFrame(data);
    if (!own) return void plain?.(data);
    if (own.hello) attempts = 0;
    const stands = own.hello?.log ?? own.log ?? own.gap ?? own.back; // it goes on here: what is newer is not in the log
    if (stands) positions = [stands.position, ...behind(positions, stands.position)];
    if (own.gap || stands?.reason) missing();
    return own.message;
  }
  function later(code) {
    if (FINAL.includes(code)) return ended?.(code);
    const most = code === 1012 && attempts === 0 ? 0 : Math.min(30_000, 1000 * 2 ** attempts);
    attempts += 1;
    timer = setTimeout(start, Math.random() * most);
  }
  function stop() { turn += 1; clearTimeout(timer); socket?.close(1000); }
  function start() { stop(); connect(turn).catch(() => later()); }

  start();
  return { start, stop, positions: () => positions }; // stop in `pagehide`, start in `pageshow`
}

function ownFrame(data) { // null: a payload, also one that begins as Switchboard's own frames do
  if (typeof data !== "string" || !data.startsWith('{"switchboard":')) return null;
  try { return JSON.parse(data).switchboard; } catch { return null; }
}

const behind = (list, item) => (list.includes(item) ? list.slice(list.indexOf(item) + 1) : []);
