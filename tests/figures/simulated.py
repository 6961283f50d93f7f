"""How many messages and round trips a push takes, counted in a trace of the simulator."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from stand import TARGET

SIMULATOR = Path(os.environ.get("SIMULATOR", TARGET / "switchboard-sim"))
# A trace of more takes minutes to be written.
INSTANCES = [2, 8, 32]
# How many pushes are counted, at least.
PUSHES = 1000
# Seconds: pushes open links, then come those that count, then there are none.
OPENING, FIRST, LAST, END = 10, 20, 30, 40


def table():
    lines = [
        "In the simulator, with as many users, each with a terminal at another instance:",
        "",
        "| instances | lookups a push | messages between instances a push | the model's | other round trips of an instance |",
        "|---" * 5 + "|",
    ]
    for count in INSTANCES:
        lookups, messages, background = counted(count)
        lines.append(f"| {count} | {lookups:.2f} | {messages:.2f} | 1, {2 * (1 - 1 / count):.2f} | {background:.2f} a second |")
    return "\n".join(lines)


def counted(count):
    """Lookups and messages of a push, and other round trips of an instance in a second."""
    pushes, schedule = written(count)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(schedule)
        file.flush()
        ran = subprocess.run([SIMULATOR, "replay", file.name, "--trace"], stdout=subprocess.PIPE, text=True, check=True)
    return count_of(ran.stdout, pushes, count)


def count_of(trace, pushes, count):
    pushing, idle = counts(trace, FIRST, LAST), counts(trace, LAST, END)
    # Links carry signs of life beside what pushes make them carry.
    signs = idle["messages"] * (LAST - FIRST) / (END - LAST)
    return pushing["lookups"] / pushes, (pushing["messages"] - signs) / pushes, idle["trips"] / count / (END - LAST)


def written(count):
    """A schedule in which each of some users has a terminal, anywhere, and is pushed to at instances in turn."""
    users = [f"u{number}" for number in range(count)]
    lines = [f"switchboard-sim 1  seed 0x5eed  instances {count}  lease 10s"]
    for number, user in enumerate(users):
        lines.append(f"5.{number:03}s  client c{number + 1} connects i{number + 1} as {user}")
    # Each instance pushes to each user alike: once, so that all links are open, and then as often as it takes.
    every = [(at, user) for at in range(count) for user in users]
    counted_ones = every * -(-PUSHES // len(every))
    pushes = 0
    for begin, end, pairs in ((OPENING, FIRST - 2, every), (FIRST, LAST - 1, counted_ones)):
        for number, (at, user) in enumerate(pairs):
            pushes += 1
            lines.append(f"{begin + (end - begin) * number / len(pairs):.6f}s  push i{at + 1} {user} m{pushes}")
    lines.append(f"{END}s  expect converged")
    return len(counted_ones), "\n".join(lines) + "\n"


def counts(trace, begin, end):
    found = {"lookups": 0, "messages": 0, "trips": 0}
    for line in trace.splitlines():
        at = re.match(r"(\d+\.\d+) i\d+ returns (LinkWrite|Directory)\b", line)
        if not at or not begin <= float(at[1]) < end:
            continue
        if at[2] == "LinkWrite":
            found["messages"] += 1
        elif "Lookup {" in line:
            found["lookups"] += 1
        else:
            found["trips"] += 1
    return found
