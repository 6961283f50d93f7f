"""Measurements in turns, with progress, and what is made of their figures."""

import statistics
import sys
import time

from stand import Failed


class Measurement:
    """Something to be started afresh and measured: `take(adapter)` returns figures by name."""

    def __init__(self, name, seconds, take, turns=None):
        self.name, self.seconds, self.take, self.turns = name, seconds, take, turns


def measure(measurements, adapters, turns):
    """All figures of all turns: {adapter: {figure: [value, ...]}}. Adapters take turns, and so do measurements."""
    jobs = [
        (turn, measurement, adapter)
        for turn in range(turns)
        for measurement in measurements
        for adapter in adapters
        if turn < (measurement.turns or turns)
    ]
    figures = {adapter: {} for adapter in adapters}
    begin, due = time.monotonic(), 0
    whole = sum(measurement.seconds for _, measurement, _ in jobs)
    for count, (turn, measurement, adapter) in enumerate(jobs, 1):
        slower = (time.monotonic() - begin) / due if due else 1
        remaining = (whole - due) * slower
        progress(count, len(jobs), f"{measurement.name} on {adapter}, turn {turn + 1}", remaining)
        try:
            taken = measurement.take(adapter)
        except Failed as failed:
            sys.exit(f"\nfigures: {measurement.name} on {adapter}: {failed}")
        for figure, value in taken.items():
            figures[adapter].setdefault(figure, []).append(value)
        due += measurement.seconds
    print(f"\r\033[Kfigures: {len(jobs)} measurements in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return figures


def progress(count, of, what, remaining):
    done = round(24 * (count - 1) / of)
    bar = "#" * done + "." * (24 - done)
    line = f"[{bar}] {count} of {of}: {what}, {remaining // 60:.0f} min {remaining % 60:02.0f} s left"
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def shown(values, unit):
    """The median of some turns, and in parentheses from the least to the most."""
    middle, least, most = (short(value) for value in (statistics.median(values), min(values), max(values)))
    spread = "" if least == most else f" ({least} to {most})"
    return f"{middle} {unit}{spread}"


def short(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
