"""What a server's metrics are called, and what dashboard, alerts and their tests call them."""

import json
import re
import time
import urllib.parse

import yaml

from place import DEPLOY, eventually, get

# A name in an expression that a server must print.
NAME = re.compile(r"\b(?:switchboard|process)_[a-z_]+\b")

# A sample: its name and its labels.
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? \S+")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def dashboard_queries():
    """Title and expression of each query, with values for what Grafana puts in."""
    dashboard = json.loads((DEPLOY / "grafana/switchboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "10s").replace("$job", "switchboard").replace("$node", ".*")
            assert "$" not in expression, expression
            yield panel["title"], expression


def alert_queries():
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def printed(text):
    """The labels of each sample of a server's metrics, by its name, and the bounds of its buckets."""
    labels, bounds = {}, set()
    for line in text.splitlines():
        if found := SAMPLE.fullmatch(line):
            pairs = dict(LABEL.findall(found[2] or ""))
            labels.setdefault(found[1], set()).add(frozenset(pairs))
            bounds |= {pairs["le"]} if "le" in pairs else set()
    return labels, bounds


def names_exist(text):
    """Every metric that is named in a query is one that the server prints."""
    labels, _ = printed(text)
    queries = [*dashboard_queries(), *alert_queries()]
    named = {name for _, expression in queries for name in NAME.findall(expression)}
    assert len(named) > 20, named
    assert named <= labels.keys(), f"no server prints {sorted(named - labels.keys())}"


def tested_series_exist(text):
    """The series of the alerts' tests have the names, labels and buckets of real ones."""
    labels, bounds = printed(text)
    tests = yaml.safe_load((DEPLOY / "prometheus/alerts_test.yml").read_text())["tests"]
    for series in {each["series"] for test in tests for each in test["input_series"]}:
        name, pairs = re.fullmatch(r"([a-z_]+)\{(.*)\}", series).groups()
        pairs = dict(LABEL.findall(pairs))
        if name == "up":
            continue
        own = frozenset(pairs) - {"job", "instance"}
        assert own in labels.get(name, ()), f"{series}: a server prints it with {labels.get(name)}"
        assert pairs.get("le", "+Inf") in bounds, series


def alerts_are_tested():
    tests = yaml.safe_load((DEPLOY / "prometheus/alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    quiet = {case["alertname"] for test in tests for case in test["alert_rule_test"] if not case.get("exp_alerts")}
    alerts = {name for name, _ in alert_queries()}
    assert fired == quiet == alerts, f"not tried both ways: {alerts - (fired & quiet)}"


def dashboard_has_data(port, work):
    """Every query of the dashboard finds something in a Prometheus that scrapes working servers."""

    def result(expression):
        work()
        _, body = get(port, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        answer = json.loads(body)
        assert answer["status"] == "success", f"{expression}: {answer}"
        return [value for value in answer["data"]["result"] if value["value"][1] != "NaN"]

    queries = list(dashboard_queries())
    assert len(queries) > 30
    for title, expression in queries:
        eventually(f"data for {title}: {expression}", lambda: result(expression))


def no_alert_fires(port):
    """At servers that are well, though all rules have been evaluated."""

    def evaluated():
        rules = json.loads(get(port, "/api/v1/rules")[1])["data"]["groups"][0]["rules"]
        assert all(rule["health"] != "err" for rule in rules), rules
        return all(rule["health"] == "ok" for rule in rules) and rules

    rules = eventually("all rules are evaluated", evaluated)
    time.sleep(2)
    rules = evaluated()
    assert {rule["name"] for rule in rules} == {name for name, _ in alert_queries()}
    assert all(rule["state"] == "inactive" for rule in rules), [rule for rule in rules if rule["state"] != "inactive"]
