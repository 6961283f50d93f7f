"""What a large cluster costs, computed from what small ones were measured to cost.

Seconds of processor time a second (cores), with N terminals, I instances, C connections and R pushes a second:

    servers = N idle + C connect + R push(I) + a I + b I (I - 1)
    Redis   = R push + C connect + c + d I
    memory  = N terminal + e I + f I (I - 1)

where push(I) = own + hop (1 - 1/I): a terminal is at the instance that is asked in one of I cases, and otherwise the
push crosses a link. own, hop, a to f are fitted (least squares) to what 1, 2, 4 and 8 instances cost.
"""

import statistics

import curves
from measuring import short

ADAPTER = "tokio"
TERMINALS, CONNECTIONS, PUSHES = 1_000_000, 1000, 10_000
# Instances of one large machine, and of a large cluster.
CASES = [16, 100]
FITS = """\
Where the form is below what was measured with the most instances, it is too low for more of them."""
NOT_COVERED = """\
The model does not cover what the kernel keeps for sockets, TLS, a network between the machines, caches that a million
terminals do not fit into, what a storm of connections leaves behind, several terminals of a user, broadcasts and
topics. Redis has one thread for commands: where its share nears one core, it is what limits the cluster."""


def fit(points, base, grows):
    """The two coefficients, neither below zero, of base(I) and grows(I) that are nearest to {I: value}."""
    rows = [(base(count), grows(count), value) for count, value in points.items()]
    bb, bg, gg = (sum(products) for products in zip(*((b * b, b * g, g * g) for b, g, _ in rows)))
    bv, gv = (sum(products) for products in zip(*((b * v, g * v) for b, g, v in rows)))
    determinant = bb * gg - bg * bg
    first, second = (bv * gg - gv * bg) / determinant, (gv * bb - bv * bg) / determinant
    if second < 0:
        first, second = bv / bb, 0.0
    elif first < 0:
        first, second = 0.0, gv / gg
    return first, second


def crossing(count):
    """How many of the pushes cross a link."""
    return 1 - 1 / count


def pairs(count):
    return count * (count - 1)


def one(_):
    return 1


def itself(count):
    return count


# How what servers take that have nothing to do grows with their number. Redis has work of its own.
FORMS = {"servers": (itself, pairs), "redis": (one, itself), "memory": (itself, pairs)}
MOST = curves.INSTANCES[-1]


class Model:
    """The inputs, from figures in turns by name, as they are kept."""

    def __init__(self, figures):
        def middle(name):
            return statistics.median(figures[name])

        self.idle = middle("idle, processor") * 1e4 / 19_000
        self.terminal = middle("idle, memory")
        self.connect, self.connect_redis = middle("connect"), middle("connect, Redis")
        self.push_redis = {"saturated": middle("saturated, Redis"), "paced": middle("single, Redis")}
        self.measured = {
            name: curves.curve(figures, f"{what} {{}} {name}", curves.INSTANCES)
            for what, names in (("instances", self.push_redis), ("still", FORMS)) for name in names
        }
        self.push = {name: fit(self.measured[name], one, crossing) for name in self.push_redis}
        self.still = {name: fit(self.measured[name], *form) for name, form in FORMS.items()}

    def inputs(self):
        lines = [
            "| measured | |",
            "|---|---|",
            f"| an idle terminal | {short(self.idle)} us a second, {short(self.terminal)} KiB |",
            f"| a connection | {short(self.connect)} us, and Redis {short(self.connect_redis)} us |",
        ]
        for name, said in (("saturated", "as fast as receipts come"), ("paced", "1,000 a second")):
            own, hop = self.push[name]
            beside = self.beside(name, own + hop * crossing(MOST))
            lines.append(
                f"| a push, {said} | {short(own)} + {short(hop)} (1 - 1/I) us{beside}; "
                f"Redis {short(self.push_redis[name])} us |")
        for name, said, form, unit in (("servers", "servers that have nothing to do", "{} I + {} I (I - 1)", "us a second"),
                                       ("redis", "Redis meanwhile", "{} + {} I", "us a second"),
                                       ("memory", "memory of these servers", "{} I + {} I (I - 1)", "MiB")):
            beside = self.beside(name, self.still_cost(name, MOST))
            lines.append(f"| {said} | {form.format(*map(short, self.still[name]))} {unit}{beside} |")
        return "\n".join(lines)

    def beside(self, name, formed):
        return f"; with {MOST} instances {short(formed)}, measured {short(self.measured[name][MOST])}"

    def still_cost(self, name, count):
        """What instances cost that have nothing to do."""
        return sum(factor * grows(count) for factor, grows in zip(self.still[name], FORMS[name]))

    def cost(self, count, load="saturated", terminals=TERMINALS, connections=CONNECTIONS, pushes=PUSHES):
        """Cores of all servers by what they do, cores of Redis, GiB of all servers."""
        own, hop = self.push[load]
        micros = {
            "terminals": terminals * self.idle,
            "connections": connections * self.connect,
            "pushes": pushes * (own + hop * crossing(count)),
            "instances": self.still_cost("servers", count),
        }
        redis = pushes * self.push_redis[load] + connections * self.connect_redis + self.still_cost("redis", count)
        memory = terminals * self.terminal / 2**20 + self.still_cost("memory", count) / 2**10
        return {name: value / 1e6 for name, value in micros.items()}, redis / 1e6, memory

    def table(self):
        lines = [
            f"{TERMINALS:,} idle terminals, {CONNECTIONS:,} connections and {PUSHES:,} pushes a second; pushes cost",
            "what they do as fast as receipts come, to what they do at 1,000 a second, when fewer share a turn:",
            "",
            "| instances | terminals | connections | pushes | instances themselves | all servers | Redis | memory of servers |",
            "|---" * 8 + "|",
        ]
        for count in CASES:
            low, redis_low, memory = self.cost(count, "saturated")
            high, redis_high, _ = self.cost(count, "paced")
            lines.append(
                f"| {count} | {short(low['terminals'])} | {short(low['connections'])} "
                f"| {short(low['pushes'])} to {short(high['pushes'])} | {short(low['instances'])} "
                f"| {short(sum(low.values()))} to {short(sum(high.values()))} cores "
                f"| {short(redis_low)} to {short(redis_high)} cores | {short(memory)} GiB |")
        return "\n".join(lines)

    def text(self):
        return f"{self.inputs()}\n\n{FITS}\n\n{self.table()}\n\n{NOT_COVERED}"
