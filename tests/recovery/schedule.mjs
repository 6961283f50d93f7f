// What happens in a scenario, and when: the same for all systems, and for the same seed.

const CLIENTS = 40;
const PUSHES_PER_SECOND = 40;

/** How long Redis and servers are away when they are killed. */
const AWAY = [0.5, 2];

/** What a copy of Redis has not got of its primary when it takes over: what came in these seconds. */
const TAIL = 2;

const SCENARIOS = [
  { name: "clients are cut for up to 3 s", seconds: 40, faults: [["cut", { every: 0.2, lasts: [0.2, 3] }]] },
  { name: "clients are cut for 20 to 40 s", seconds: 60, faults: [["cut", { every: 1, lasts: [20, 40] }]] },
  { name: "servers are killed", seconds: 40, faults: [["kill", { every: 4, lasts: AWAY }]] },
  { name: "Redis is killed, and has its append-only file", seconds: 40, faults: [["restart", { every: 10, lasts: AWAY }], ["cut", { every: 1, lasts: [0.2, 5] }]] },
  { name: "Redis comes back empty", seconds: 40, faults: [["empty", { every: 15, lasts: AWAY }], ["cut", { every: 1, lasts: [0.2, 5] }]] },
  { name: `Redis fails over to a copy without the last ${TAIL} s`, seconds: 40, faults: [["failover", { every: 15, lasts: [TAIL, TAIL] }], ["cut", { every: 1, lasts: [0.2, 5] }]] },
  { name: "cuts, kills, restarts and failovers together", seconds: 90, faults: [["cut", { every: 1, lasts: [0.2, 10] }], ["kill", { every: 6, lasts: AWAY }], ["restart", { every: 31, lasts: AWAY }], ["failover", { every: 37, lasts: [TAIL, TAIL] }]] },
];

/** The scenarios whose name contains `only`, with their pushes and faults in the order of time (seconds). */
export function scenarios(seed, only = "") {
  const named = SCENARIOS.map((scenario, index) => ({ ...scenario, random: generator(seed * 1000 + index) }));
  return named.filter(({ name }) => name.includes(only)).map(({ name, seconds, faults, random }) => ({
    name,
    seconds,
    clients: CLIENTS,
    replicated: faults.some(([kind]) => kind === "failover"),
    pushes: pushes(seconds, random),
    faults: faults.flatMap(([kind, { every, lasts }]) => spread(kind, seconds, every, lasts, random)).sort((a, b) => a.at - b.at),
  }));
}

function pushes(seconds, random) {
  const times = Array.from({ length: seconds * PUSHES_PER_SECOND }, () => random() * seconds).sort((a, b) => a - b);
  return times.map((at) => ({ at, client: Math.floor(random() * CLIENTS) }));
}

/** Faults of a kind at intervals of half to one and a half times `every`. All begin after 3 s and end before the pushes do. */
function spread(kind, seconds, every, [least, most], random) {
  const found = [];
  for (let at = 3 + every * random(); ; at += every * (0.5 + random())) {
    const lasts = least + (most - least) * random();
    if (at + lasts + 3 > seconds) return found;
    found.push({ at, lasts, kind, client: Math.floor(random() * CLIENTS), server: Math.floor(random() * 2), silent: random() < 0.5 });
  }
}

/** Numbers from 0 to 1: mulberry32. */
function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
