"""Checks what is in `deploy/`: each file with the program that it is for, and servers with the settings
that the files give them. `.ci/deploy` gets what it needs."""

import contextlib
import os
import pathlib
import re
import signal
import sys
import tempfile
import traceback

import yaml

import figures
from place import DEPLOY, SERVER, eventually, get, prometheus, redis, run, serving

TOOLS = pathlib.Path(sys.executable).parent
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@check
def proxies_take_their_files():
    """.ci/foreign runs them."""
    with tempfile.TemporaryDirectory() as folder:
        run("nginx", "-t", "-p", folder, "-e", "stderr", "-c", DEPLOY / "nginx.conf")
        run("haproxy", "-c", "-f", DEPLOY / "haproxy.cfg")
        caddyfile = DEPLOY / "Caddyfile"
        environment = {**os.environ, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        run("caddy", "validate", "--config", caddyfile, "--adapter", "caddyfile", env=environment)
        assert run("caddy", "fmt", caddyfile) == caddyfile.read_text(), "run `caddy fmt --overwrite`"


@check
def nginx_of_compose_differs_in_addresses_only():
    def settings(name):
        lines = (DEPLOY / name).read_text().splitlines()
        return "\n".join(line for line in lines if not line.startswith("#"))

    alone, composed = settings("nginx.conf"), settings("compose-nginx.conf")
    for documented, used in {
        "pid nginx.pid": "pid /tmp/nginx.pid",
        "127.0.0.1:8080": "a:8080",
        "127.0.0.1:8090": "b:8080",
        "127.0.0.1:8000": "8000",
    }.items():
        assert alone.count(documented) == 1, documented
        alone = alone.replace(documented, used)
    assert alone == composed


@check
def dockerfile_passes_hadolint():
    run(TOOLS / "hadolint", DEPLOY / "Dockerfile")


@check
def compose_file_is_valid():
    with tempfile.TemporaryDirectory() as folder:
        for name in ["compose.yaml", "compose-nginx.conf"]:
            pathlib.Path(folder, name).write_text((DEPLOY / name).read_text())
        for name in ["cluster-secret", "api-keys"]:
            pathlib.Path(folder, name).touch()
        run("docker-compose", "-f", f"{folder}/compose.yaml", "config", "--quiet")


@check
def compose_servers_are_one_cluster():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    with redis() as url, contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server_of_compose(url, services[name])) for name in "ab"]
        eventually("they know each other", lambda: all(server.knows(workers(2)) for server in servers))
        with servers[1].connect("ann"):
            assert servers[0].push("ann", "hello")["written"] == 1
        for server, name in zip(servers, "ab"):
            server.drain(seconds(services[name]["stop_grace_period"]))


def server_of_compose(url, service):
    return serving(url, ["serve"], {**image_environment(), **service["environment"]}, "/run/secrets")


def image_environment():
    """What the Dockerfile sets."""
    found = dict(re.findall(r"(SWITCHBOARD_\w+)=(\S+)", (DEPLOY / "Dockerfile").read_text()))
    assert len(found) == 4, found
    return found


def workers(processes):
    """Instances that so many processes have by default."""
    return processes * len(os.sched_getaffinity(0))


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


@check
def systemd_unit_is_valid():
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder, "switchboard.service")
        unit.write_text((DEPLOY / unit.name).read_text().replace("/usr/local/bin/switchboard", SERVER))
        said = run("systemd-analyze", "verify", unit)
        assert said == "", said
        run("systemd-analyze", "security", "--offline=yes", "--threshold=15", unit)


@check
def systemd_settings_start_a_server():
    unit = (DEPLOY / "switchboard.service").read_text()
    [command] = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)
    environment = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
    [grace] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    with redis() as url, serving(url, command.split(), environment, "%d") as server:
        assert get(server.api, "/health/ready")[0] == 200
        assert get(server.api, "/v1/instances")[0] == 401, "it has keys"
        server.drain(int(grace))


@check
def systemd_filter_allows_what_a_server_calls():
    lines = re.findall(r"^SystemCallFilter=(~?)(.*)$", (DEPLOY / "switchboard.service").read_text(), re.MULTILINE)
    allowed = set()
    for tilde, names in lines:
        calls = set().union(*(system_calls(name) for name in names.split()))
        allowed = allowed - calls if tilde else allowed | calls
    with tempfile.NamedTemporaryFile("r") as trace, redis() as url:
        environment = image_environment() | {"SWITCHBOARD_CLUSTER_SECRET_FILE": "/secrets/cluster-secret"}
        environment |= {"SWITCHBOARD_API_KEY_FILE": "/secrets/api-keys", "SWITCHBOARD_AUTH": "open"}
        environment |= {"SWITCHBOARD_REDIS": url, "SWITCHBOARD_ADVERTISE": "a:8082", "SWITCHBOARD_DRAIN": "1s"}
        under = ["strace", "--follow-forks", "--output", trace.name]
        with serving(url, ["serve"], environment, "/secrets", under) as server:
            with server.connect("ann"):
                assert server.push("ann", "hello")["written"] == 1
            assert get(server.api, "/metrics")[0] == 200
            os.kill(int(trace.readline().split()[0]), signal.SIGTERM)
            assert server.child.wait(60) == 0, server.said()
        trace.seek(0)
        called = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read(), re.MULTILINE))
    assert len(called) > 20, called
    assert called <= allowed, f"the unit forbids {called - allowed}"


def system_calls(name):
    """Those of a set of systemd's."""
    if not name.startswith("@"):
        return {name}
    words = [line.strip() for line in run("systemd-analyze", "syscall-filter", name).splitlines()[1:]]
    return set().union(*(system_calls(word) for word in words if word and not word.startswith("#")))


def manifests():
    found = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


@check
def kubernetes_manifests_are_valid():
    said = run(TOOLS / "kubernetes-validate", "--strict", DEPLOY / "kubernetes.yaml")
    assert said.count("passed for resource") == len(manifests()) == 4, said


@check
def kubernetes_selectors_find_the_pods():
    found = manifests()
    pod = found["Deployment/switchboard"]["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert found["Deployment/switchboard"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert found["PodDisruptionBudget/switchboard"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    for name in ["Service/switchboard", "Service/switchboard-api"]:
        assert found[name]["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in found[name]["spec"]["ports"]} <= ports


@check
def kubernetes_settings_start_servers_that_pass_the_probes():
    pod = manifests()["Deployment/switchboard"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    environment = image_environment() | {each["name"]: each["value"] for each in container["env"] if "value" in each}
    grace = pod["terminationGracePeriodSeconds"]
    stop = seconds(environment["SWITCHBOARD_DRAIN_DELAY"]) + seconds(environment["SWITCHBOARD_DRAIN"])
    assert grace > stop + 10, "the drain has time"
    with redis() as url, contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(serving(url, container["args"], environment, "/secrets")) for _ in range(2)
        )
        eventually("they know each other", lambda: first.knows(2) and second.knows(2))
        with second.connect("ann"):
            assert first.push("ann", "hello")["written"] == 1
        for name in ["startupProbe", "livenessProbe", "readinessProbe"]:
            probe = container[name]["httpGet"]
            assert probe["port"] == "api"
            assert get(first.api, probe["path"])[0] == 200, name
        first.drain(grace)


@check
def alerts_pass_their_tests():
    folder = DEPLOY / "prometheus"
    run("promtool", "check", "config", "prometheus.yml", cwd=folder)
    run("promtool", "test", "rules", "alerts_test.yml", cwd=folder)
    figures.alerts_are_tested()


@check
def metrics_are_those_of_a_real_server():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    with redis() as url, contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server_of_compose(url, services[name])) for name in "ab"]
        terminal = stack.enter_context(servers[1].connect("ann"))

        def work():
            servers[0].push("ann", "a push")
            servers[0].push("ann", "a record", "?durable=true")
            servers[0].push_to_topic("news", "a push")
            terminal.recv(1 << 16)

        work()
        text = get(servers[0].api, "/metrics")[1]
        figures.names_exist(text)
        figures.tested_series_exist(text)
        port = stack.enter_context(prometheus([f"127.0.0.1:{server.api}" for server in servers]))
        figures.dashboard_has_data(port, work)
        figures.no_alert_fires(port)


def main():
    failed = 0
    only = sys.argv[1:]
    chosen = [each for each in CHECKS if not only or any(text in each.__name__ for text in only)]
    for each in chosen:
        name = each.__name__.replace("_", " ")
        try:
            each()
            print(f"ok {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not chosen else 0)


main()
