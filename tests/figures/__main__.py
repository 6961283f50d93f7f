"""What Switchboard costs: one table, curves, and a model of large clusters, measured on this machine.

    .ci/figures                                            the table
    .ci/figures --curves                                   how costs grow: with terminals, instances, payloads
    .ci/figures --model                                    1,000,000 terminals and 100 instances, from what is kept
    .ci/figures --peers                                    a push to one user beside Socket.IO and nchan
    .ci/figures --table --curves --peers --model --write   all of these, into docs/performance.md and docs/figures

Starts Redis, servers and the load generator on free ports of loopback, afresh for each measurement, and ends them. All
measurements take turns; a figure is the median of the turns, with the least and the most. Fails if a push is lost,
doubled, out of order or refused. The table takes about 7 minutes, curves 5 (on tokio alone) and peers 2, once the
servers are built.

Variables: NO_BUILD=1 takes what is built, SERVERS names a folder with other servers (`switchboard`, `examples/server`),
SIMULATOR another switchboard-sim than target/release has, with which the model is compared.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path

import curves
import document
import rows
import simulated
import stand
from measuring import measure
from model import ADAPTER, Model

DOCUMENT = stand.TREE / "docs/performance.md"
FOLDER = stand.TREE / "docs/figures"
KEPT = FOLDER / "measured.json"


def main():
    parser = argparse.ArgumentParser(
        prog=".ci/figures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="measure the table; what is done if nothing else is named")
    parser.add_argument("--curves", action="store_true", help="measure curves")
    parser.add_argument("--peers", action="store_true", help="measure others; installs what .ci/compare-rooms installs")
    parser.add_argument("--model", action="store_true", help="print the model, from this run or from docs/figures")
    parser.add_argument("--write", action="store_true", help="write into docs/performance.md and docs/figures")
    parser.add_argument("--turns", type=int, default=3, help="turns of the table; curves have two")
    parser.add_argument("--adapters", default="tokio,smol")
    parser.add_argument("--note", default="", help="what else was known of the machine, for the document")
    options = parser.parse_args()
    # What was started ends on this way too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not (options.curves or options.peers or options.model):
        options.table = True
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    # Each is written before the next is measured, which may fail.
    for name, text in sections(options, kept):
        print(f"\n## {name}\n\n{text}", flush=True)
        if options.write:
            write(name, text, kept)


def sections(options, kept):
    """What is printed and written, each with the name of its markers; figures are added to what is kept."""
    adapters = options.adapters.split(",")
    room = stand.raise_descriptors()
    subprocess.run([".ci/install", "redis-server", "redis-server"], cwd=stand.TREE, check=True, stdout=2)
    if (options.table or options.curves or options.peers) and "NO_BUILD" not in os.environ:
        stand.build(adapters)
    if options.table:
        figures = measure(rows.possible(room), adapters, options.turns)
        kept["table"] = figures
        yield "table", f"{machine(options)}\n\n{rows.table(figures)}"
    if options.curves:
        figures = measure(curves.measurements(room), [ADAPTER], min(2, options.turns))
        kept["curves"] = figures
        missing = [f"{count:,}" for count in curves.TERMINALS if count > room]
        yield "curves", pictures(options, figures[ADAPTER], missing)
    if options.peers:
        yield "peers", f"{machine(options)}\n\n{peers()}"
    if options.model:
        yield "model", modelled(kept)


def machine(options):
    """Where and when this was measured."""
    load = os.getloadavg()
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, cwd=stand.TREE, stdout=subprocess.PIPE, text=True).stdout.strip()
    servers = "servers built elsewhere" if "SERVERS" in os.environ else f"commit {commit}"
    note = f"; {options.note}" if options.note else ""
    said = (f"{date.today()}, {servers}, {os.cpu_count()} processors, "
            f"load of the machine at the end {load[0]:.1f}{note}. Medians of the turns, in parentheses the least and the most.")
    return textwrap.fill(said, 120)


def pictures(options, figures, missing):
    lines = [machine(options), "", f"On {ADAPTER}.", ""]
    if missing:
        lines += [f"A process has too few descriptors here for {', '.join(missing)} terminals.", ""]
    for name, svg in curves.plots(figures).items():
        title = re.search(r"<title>(.*?)</title>", svg)[1]
        lines.append(f"![{title}](figures/{name})")
    return "\n".join(lines)


def peers():
    """The table of .ci/compare-rooms for a push to one user each."""
    environment = dict(os.environ, SWITCHBOARD_BIN=str(stand.SERVERS / stand.EXECUTABLES["tokio"]))
    command = [".ci/compare-rooms", "--users", "2000", "--pushes", "4000"]
    ran = subprocess.run(command, cwd=stand.TREE, env=environment, stdout=subprocess.PIPE, text=True)
    if ran.returncode != 0:
        return "Not to be had: .ci/compare-rooms failed (see above)."
    return ran.stdout.strip()


def modelled(kept):
    try:
        figures = {**kept["table"][ADAPTER], **kept["curves"][ADAPTER]}
    except KeyError:
        sys.exit("figures: the model needs a table and curves on tokio: --table --curves")
    text = Model(figures).text()
    if simulated.SIMULATOR.exists():
        return f"{text}\n\n{simulated.table()}"
    said = f"no simulator at {simulated.SIMULATOR}: cargo build --release -p switchboard-sim"
    print(f"figures: the model is not compared: {said}", file=sys.stderr)
    return text


def write(name, section, kept):
    FOLDER.mkdir(exist_ok=True)
    if name in kept:
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    if name == "curves":
        for file, svg in curves.plots(kept[name][ADAPTER]).items():
            (FOLDER / file).write_text(svg)
    DOCUMENT.write_text(document.between(DOCUMENT.read_text(), name, section))


if __name__ == "__main__":
    main()
