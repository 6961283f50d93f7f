"""What of .ci/figures can be tried without measuring."""

import json
import unittest
from xml.etree import ElementTree

import curves
import model
import plot
import rows
import simulated
from document import between
from measuring import shown
from stand import Failed, Load

REPORT = {
    "terminals": 4000, "pushes": 200, "refused": 0, "failed": 0, "lost": 0, "doubled": 0, "out_of_order": 0,
    "delivery_micros": {"p50": 1, "p90": 2, "p99": 3, "max": 4},
    "server": {"memory_bytes": 1, "idle_bytes_per_terminal": 2048, "processor_micros_per_push": 50.0},
    "processor_seconds": {part: {"servers": 0.01, "redis": 0.002} for part in ("connecting", "idle", "pushing")},
}


class Reports(unittest.TestCase):
    def test_processor_time_is_divided_by_what_it_was_for(self):
        load = Load(json.dumps(REPORT))
        self.assertAlmostEqual(load.micros("pushing", load.pushes), 50)
        self.assertAlmostEqual(load.micros("connecting", load.terminals, "redis"), 0.5)

    def test_a_lost_push_is_no_measurement(self):
        for wrong in ("refused", "failed", "lost", "doubled", "out_of_order"):
            with self.assertRaises(Failed):
                Load(json.dumps({**REPORT, wrong: 1}))
        with self.assertRaises(Failed):
            Load(json.dumps(REPORT), status=1)
        with self.assertRaises(Failed):
            Load("", "no server")
        with self.assertRaises(Failed):
            Load(json.dumps(REPORT), pushes=201)


class Tables(unittest.TestCase):
    def test_a_figure_has_its_spread(self):
        self.assertEqual(shown([3.0, 1.0, 20.0], "us"), "3.00 us (1.00 to 20.0)")
        self.assertEqual(shown([250.4], "us"), "250 us")

    def test_what_was_not_measured_is_said(self):
        table = rows.table({"tokio": {"saturated": [60.0]}, "smol": {}})
        self.assertIn("16 publishers | 60.0 us | not measured |", table)
        self.assertEqual({line.count("|") for line in table.splitlines()}, {4})

    def test_too_few_descriptors_leave_a_row_out(self):
        self.assertEqual(len(rows.possible(1000)), len(rows.MEASUREMENTS) - 1)
        self.assertIn("1,000 descriptors", rows.table({"tokio": {}}))
        rows.MISSING.clear()

    def test_a_section_replaces_what_is_between_its_markers(self):
        text = "a\n<!-- .ci/figures: x -->\nold\n<!-- .ci/figures: end of x -->\nb\n"
        written = between(text, "x", "new")
        self.assertEqual(written.count("new"), 1)
        self.assertNotIn("old", written)
        self.assertEqual(written, between(written, "x", "new"))


class Plots(unittest.TestCase):
    def test_a_plot_has_a_point_for_each_figure_and_a_legend(self):
        svg = plot.svg("a & b", "terminals", "us", [("one", [(1, 2.0), (10, 40.0)]), ("two", [(10, 0.0)])])
        root = ElementTree.fromstring(svg)
        marks = [element for element in root.iter() if element.get("class", "").startswith("mark")]
        self.assertEqual(len(marks), 3 + 2)
        heights = [float(mark.get("cy")) for mark in marks if mark.get("cy")]
        self.assertLess(heights[1], heights[0])
        self.assertIn("prefers-color-scheme:dark", svg)

    def test_the_axis_reaches_the_largest_value_in_a_few_steps(self):
        for most in (0, 0.3, 1, 7.9, 99, 100, 12_345):
            steps = plot.ticks(most)
            self.assertGreaterEqual(steps[-1], most * 0.999)
            self.assertLessEqual(len(steps), 10)

    def test_plots_leave_out_what_was_not_measured(self):
        figures = {f"terminals {count} push": [1.0, 3.0] for count in (1000, 2000)}
        self.assertEqual(curves.curve(figures, "terminals {} push", curves.TERMINALS), {1000: 2.0, 2000: 2.0})


class Models(unittest.TestCase):
    FIGURES = {
        "idle, processor": [1.9], "idle, memory": [2.0], "connect": [50.0], "connect, Redis": [10.0],
        "saturated, Redis": [5.0], "single, Redis": [20.0],
        **{f"instances {count} {name}": [20 + 40 * (1 - 1 / count)]
           for count in curves.INSTANCES for name in ("saturated", "paced")},
        **{f"still {count} {name}": [100 * count + 3 * count * (count - 1)]
           for count in curves.INSTANCES for name in ("servers", "memory")},
        **{f"still {count} redis": [1000 + 7 * count] for count in curves.INSTANCES},
    }

    def test_what_was_put_in_is_found_again(self):
        own, hop = model.Model(self.FIGURES).push["saturated"]
        self.assertAlmostEqual(own, 20)
        self.assertAlmostEqual(hop, 40)

    def test_costs_are_sums_of_their_parts(self):
        cores, redis, memory = model.Model(self.FIGURES).cost(100, terminals=19_000, connections=0, pushes=1000)
        self.assertAlmostEqual(cores["terminals"], 0.019)
        self.assertAlmostEqual(cores["pushes"], 0.0596)
        self.assertAlmostEqual(cores["instances"], (100 * 100 + 3 * 9900) / 1e6)
        self.assertAlmostEqual(redis, (5000 + 1000 + 7 * 100) / 1e6)
        self.assertAlmostEqual(memory, 19_000 * 2 / 2**20 + (100 * 100 + 3 * 9900) / 2**10)

    def test_no_cost_is_below_zero(self):
        first, second = model.fit({1: 10.0, 2: 9.0, 4: 8.0}, lambda _: 1, model.crossing)
        self.assertGreater(first, 0)
        self.assertEqual(second, 0)


class Traces(unittest.TestCase):
    def test_lookups_messages_and_other_round_trips_are_told_apart(self):
        trace = """\
21.000000 i2 returns Directory(RoundTrip { op: OpId(7), operations: [Lookup { key: "u1" }, ReadLease] })
21.000100 i2 returns LinkWrite { link: 0 }
21.000200 i1 takes LinkReceived { link: 0 }
21.000300 i1 returns LinkWrite { link: 0 }
35.000000 i1 returns Directory(RoundTrip { op: OpId(8), operations: [View] })
"""
        self.assertEqual(simulated.count_of(trace, 1, 2), (1, 2, 0.05))


if __name__ == "__main__":
    unittest.main()
