// The terminals of one system, in a process of their own: the descriptors of one process are few, and all systems run at the
// same time.

import * as systems from "./contestants.mjs";

const system = systems[process.argv[2]];
let received = 0;

// They end with whoever asks.
process.on("disconnect", () => process.exit());
process.on("message", async ({ connect }) => {
  const connecting = connect.map(([server, room, number]) => system.connect(server, room, number, () => { received += 1; }));
  await Promise.all(connecting);
  process.send(received);
});
