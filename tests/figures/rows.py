"""What is measured for the table: each function starts servers, loads them, and returns figures."""

from measuring import Measurement, shown
from stand import Cluster

TERMINALS = 4000
IDLE_TERMINALS = 19_000
# Long enough for a ping to each terminal: these come every 25 s at most.
IDLE_SECONDS = 30
CROWD = 5000
MANY_OF_A_USER = ("--connections-per-user", "20000")


def saturated(adapter):
    with Cluster(adapter) as cluster:
        load = cluster.load(terminals=TERMINALS, idle=2, publishers=16, pushes=30_000)
    return {
        "saturated": load.micros("pushing", load.pushes),
        "saturated, Redis": load.micros("pushing", load.pushes, "redis"),
        "connect": load.micros("connecting", load.terminals),
        "connect, Redis": load.micros("connecting", load.terminals, "redis"),
    }


def paced(adapter):
    with Cluster(adapter) as cluster:
        load = cluster.load(terminals=TERMINALS, idle=1, publishers=16, rate=1000, pushes=8000)
    return {
        "paced": load.micros("pushing", load.pushes),
        "paced, p99": load.report["delivery_micros"]["p99"] / 1000,
        "paced, median": load.report["delivery_micros"]["p50"] / 1000,
    }


def single(adapter):
    with Cluster(adapter) as cluster:
        load = cluster.load(terminals=TERMINALS, idle=1, publishers=1, pushes=4000)
    return {
        "single": load.micros("pushing", load.pushes),
        "single, Redis": load.micros("pushing", load.pushes, "redis"),
    }


def instances(adapter):
    def push(count):
        with Cluster(adapter, count) as cluster:
            load = cluster.load(terminals=TERMINALS, idle=1, publishers=16, rate=1000, pushes=5000)
        return load.micros("pushing", load.pushes)

    one, eight = push(1), push(8)
    return {"eight instances": eight, "eight instances against one": eight / one}


def broadcast(adapter):
    with Cluster(adapter) as cluster:
        load = cluster.load(terminals=TERMINALS, idle=1, publishers=2, pushes=50, broadcast=True)
    return {"broadcast": load.micros("pushing", load.pushes * load.terminals)}


def idle(adapter):
    with Cluster(adapter) as cluster:
        load = cluster.load(terminals=IDLE_TERMINALS, idle=IDLE_SECONDS, publishers=2, pushes=16)
    return {
        "idle, memory": load.memory / 1024,
        "idle, processor": load.micros("idle", IDLE_SECONDS) / 1e4,
        "idle, Redis": load.micros("idle", IDLE_SECONDS, "redis") / 1e4,
    }


def crowd(adapter):
    with Cluster(adapter, settings=MANY_OF_A_USER) as cluster:
        load = cluster.load(terminals=CROWD, per_user=CROWD, idle=1, publishers=2, pushes=100)
    return {
        "crowd, Redis": load.micros("pushing", load.pushes, "redis") / 1000,
        "crowd": load.micros("pushing", load.pushes * CROWD),
    }


MEASUREMENTS = [
    Measurement("pushes as fast as receipts come", 9, saturated),
    Measurement("1,000 pushes a second", 12, paced),
    Measurement("one publisher", 9, single),
    Measurement("8 instances and 1", 18, instances),
    Measurement("broadcasts", 10, broadcast),
    Measurement("idle terminals", 42, idle, turns=2),
    Measurement("a user with many terminals", 12, crowd),
]

# What the table says of a figure, and its unit.
ROWS = [
    ("saturated", "us", "a push by HTTP as fast as receipts come, 16 publishers"),
    ("saturated, Redis", "us", "Redis, for each of these"),
    ("paced", "us", "a push, 1,000 of them a second"),
    ("paced, median", "ms", "delivery at 1,000 a second, median"),
    ("paced, p99", "ms", "delivery at 1,000 a second, p99"),
    ("single", "us", "a push, one publisher"),
    ("eight instances", "us", "a push with 8 instances, 1,000 a second"),
    ("eight instances against one", "times", "a push with 8 instances beside one with 1, 1,000 a second"),
    ("broadcast", "us", "a delivery of a push to everyone, 100 B"),
    ("connect", "us", "a terminal connects"),
    ("connect, Redis", "us", "Redis, for each of these"),
    ("idle, memory", "KiB", f"resident memory of an idle terminal, {IDLE_TERMINALS:,} of them"),
    ("idle, processor", "% of a core", f"{IDLE_TERMINALS:,} idle terminals, each with a ping in 25 s"),
    ("idle, Redis", "% of a core", "Redis meanwhile"),
    ("crowd, Redis", "ms", f"Redis, for a push to a user with {CROWD:,} terminals"),
    ("crowd", "us", "for each of these terminals"),
]


def table(figures):
    """The table of figures of all adapters, as Markdown."""
    adapters = list(figures)
    head = ["processor time of all servers, or what is named", *adapters]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for figure, unit, said in ROWS:
        missing = MISSING.get(figure, "not measured")
        taken = [figures[adapter].get(figure) for adapter in adapters]
        cells = [shown(values, unit) if values else missing for values in taken]
        lines.append(f"| {said} | {' | '.join(cells)} |")
    return "\n".join(lines)


MISSING = {}


def possible(room):
    """The measurements that so many terminals in a process allow; the table says which do not."""
    if room >= IDLE_TERMINALS:
        return MEASUREMENTS
    for figure in ("idle, memory", "idle, processor", "idle, Redis"):
        MISSING[figure] = f"not to be had: a process has {room:,} descriptors"
    return [measurement for measurement in MEASUREMENTS if measurement.take is not idle]
