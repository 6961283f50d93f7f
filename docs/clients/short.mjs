// A log followed in 40 lines: each record once and in its order, over as many connections as it takes (../protocol.md#the-log).
// follow.mjs does more: plain pushes, tokens, a stop, a drain that is told from a failure, and confirmations by number too.
/** `record(data, id)` gets what is pushed durably. When `missing()` is called something is lost: ask your server. */
export function follow(url, { record, missing, after = [], WebSocket = globalThis.WebSocket }) {
  const ids = new Set(); // of the last records: after a gap and after `back` one may come again
  let positions = after, attempts = 0; // the positions of the last records, the newest first

  function connect() {
    const target = new URL(url);
    if (positions.length === 0) target.searchParams.set("log", "1");
    for (const position of positions) target.searchParams.append("after", position);
    const socket = new WebSocket(target);
    let message = null, due = null; // what announces that the next frame is a record; when records are confirmed
    socket.binaryType = "arraybuffer";
    socket.onerror = () => {};
    socket.onclose = ({ code }) => {
      clearTimeout(due);
      if ([1002, 1007, 1009, 4001].includes(code)) return; // nobody comes back after these by itself
      setTimeout(connect, Math.random() * Math.min(30_000, 1000 * 2 ** attempts++));
    };
    socket.onmessage = ({ data }) => {
      if (!message) return void (message = read(data));
      if (!ids.has(message.id)) record(data, message.id);
      if (ids.add(message.id).size > 1000) ids.delete(ids.values().next().value); // more than a log keeps by default
      positions = [message.position, ...positions].slice(0, 8);
      message = null;
      due ??= setTimeout(() => { due = null; socket.send(JSON.stringify({ switchboard: { ack: positions[0] } })); }, 1000);
    };
  }
  function read(data) {
    let own = {}; // what is not Switchboard's own is a plain push
    try { own = Object(JSON.parse(data).switchboard); } catch {}
    if (own.hello) attempts = 0;
    const stands = own.hello?.log ?? own.log ?? own.gap ?? own.back; // it goes on here: what is newer is not in the log
    if (stands) positions = [stands.position, ...positions.slice(positions.indexOf(stands.position) + 1 || positions.length)];
    if (own.gap || stands?.reason) missing();
    return own.message;
  }
  connect();
}
