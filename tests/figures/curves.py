"""How costs grow: points of curves, which are measurements as those of the table, and their plots."""

import statistics
import time

import plot
from measuring import Measurement
from rows import MANY_OF_A_USER
from stand import Cluster, resident, spent

TERMINALS = [1000, 2000, 4000, 9000, 19_000, 38_000]
INSTANCES = [1, 2, 4, 8]
OF_A_USER = [1, 10, 100, 1000, 10_000]
# What a payload says of its push takes up to 20 bytes.
BYTES = [32, 256, 1024, 4096, 16_384, 65_536]
STILL_SECONDS = 8


def terminals(count):
    def take(adapter):
        with Cluster(adapter) as cluster:
            load = cluster.load(terminals=count, idle=1, publishers=16, pushes=10_000)
        return {
            f"terminals {count} push": load.micros("pushing", load.pushes),
            f"terminals {count} connect": load.micros("connecting", load.terminals),
            f"terminals {count} memory": load.memory / 1024,
        }

    return Measurement(f"{count:,} terminals", 6 + count / 2500, take)


def instances(count):
    def take(adapter):
        figures = {}
        for name, options in {"saturated": {"pushes": 15_000}, "paced": {"pushes": 5000, "rate": 1000}}.items():
            with Cluster(adapter, count) as cluster:
                load = cluster.load(terminals=4000, idle=1, publishers=16, **options)
            figures[f"instances {count} {name}"] = load.micros("pushing", load.pushes)
            figures[f"instances {count} {name} redis"] = load.micros("pushing", load.pushes, "redis")
        return figures

    return Measurement(f"{count} instances", 16, take)


def of_a_user(count):
    def take(adapter):
        pushes = min(20_000, 300_000 // count)
        with Cluster(adapter, settings=MANY_OF_A_USER) as cluster:
            load = cluster.load(terminals=10_000, per_user=count, idle=1, publishers=4, pushes=pushes)
        return {
            f"of a user {count} terminal": load.micros("pushing", load.pushes * count),
            f"of a user {count} redis": load.micros("pushing", load.pushes * count, "redis"),
        }

    return Measurement(f"{count:,} terminals of each user", 12, take)


def payload(count):
    def take(adapter):
        with Cluster(adapter) as cluster:
            load = cluster.load(terminals=1000, publishers=16, pushes=5000, bytes=count)
        return {f"bytes {count} push": load.micros("pushing", load.pushes)}

    return Measurement(f"{count:,} bytes", 6, take)


def still(count):
    """Servers without a terminal: what instances cost each other."""

    def take(adapter):
        with Cluster(adapter, count) as cluster:
            # Links are opened by pushes: they are there and idle afterwards, as in a cluster that is used.
            cluster.load(terminals=count * 20, publishers=count, pushes=count * 200)
            time.sleep(1)
            before = [sum(map(spent, cluster.servers)), spent(cluster.redis)]
            time.sleep(STILL_SECONDS)
            servers, redis = sum(map(spent, cluster.servers)) - before[0], spent(cluster.redis) - before[1]
            memory = sum(map(resident, cluster.servers))
        return {
            f"still {count} servers": servers * 1e6 / STILL_SECONDS,
            f"still {count} redis": redis * 1e6 / STILL_SECONDS,
            f"still {count} memory": memory / 2**20,
        }

    return Measurement(f"{count} instances without terminals", STILL_SECONDS + 5, take)


def measurements(room):
    """Those that so many terminals in a process allow."""
    return [
        *(terminals(count) for count in TERMINALS if count <= room),
        *map(instances, INSTANCES),
        *map(of_a_user, OF_A_USER),
        *map(payload, BYTES),
        *map(still, INSTANCES),
    ]


def curve(figures, form, counts):
    """The points of a figure that was measured: {count: median}."""
    found = {count: figures.get(form.format(count)) for count in counts}
    return {count: statistics.median(values) for count, values in found.items() if values}


def plots(figures):
    """The plots of one adapter's figures: {name of the file: SVG}."""

    def lines(counts, forms):
        return [(name, sorted(curve(figures, form, counts).items())) for name, form in forms.items()]

    us = "us of processor time"
    return {
        "terminals.svg": plot.svg(
            "What a push and a connection cost with more terminals", "terminals of two servers", us,
            lines(TERMINALS, {"a push": "terminals {} push", "a terminal connects": "terminals {} connect"})),
        "memory.svg": plot.svg(
            "What an idle terminal takes", "terminals of two servers", "KiB of resident memory",
            lines(TERMINALS, {"an idle terminal": "terminals {} memory"})),
        "instances.svg": plot.svg(
            "What a push costs with more instances", "instances, each a process", us,
            lines(INSTANCES, {"as fast as receipts come": "instances {} saturated",
                              "1,000 a second": "instances {} paced"})),
        "of-a-user.svg": plot.svg(
            "What each terminal of a user costs", "terminals of each user", f"{us} a terminal",
            lines(OF_A_USER, {"both servers": "of a user {} terminal", "Redis": "of a user {} redis"})),
        "payload.svg": plot.svg(
            "What a push costs with a larger payload", "bytes of the payload", us,
            lines(BYTES, {"a push": "bytes {} push"})),
    }
