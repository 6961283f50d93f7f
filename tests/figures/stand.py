"""Servers, Redis and the load generator on loopback, as processes that end with this one."""

import json
import os
import resource
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target")).resolve() / "release"
SERVERS = Path(os.environ.get("SERVERS", TARGET)).resolve()
EXECUTABLES = {"tokio": "switchboard", "smol": "examples/server"}
BUILDS = {
    "tokio": ["-p", "switchboard-tokio", "--bin", "switchboard", "-p", "switchboard-tests", "--bin", "switchboard-load"],
    # By itself: without what tokio's packages turn on in those that both use.
    "smol": ["-p", "switchboard-smol", "--example", "server"],
}
# Descriptors of a process that are no terminal's.
SPARE_DESCRIPTORS = 500
READY_WITHIN = 30


class Failed(Exception):
    """A measurement that says nothing, and why."""


def build(adapters):
    for adapter in sorted({"tokio", *adapters}, reverse=True):
        command = ["cargo", "build", "--release", "--locked", *BUILDS[adapter]]
        subprocess.run(command, cwd=TREE, check=True, stdout=2)


def raise_descriptors():
    """How many terminals one process may have here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE_DESCRIPTORS


def spent(pid):
    """Processor time of a process whose threads do not end, in seconds. What it counts in ticks is too coarse for a
    process that is idle."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def resident(pid):
    """Resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Cluster:
    """A Redis and so many servers with one worker each. Use it with `with`."""

    def __init__(self, adapter, instances=2, settings=()):
        self.adapter, self.instances, self.settings = adapter, instances, settings
        self.folder, self.processes = None, {}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="figures-"))
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def start(self):
        port = free_port()
        self.run("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                           "--appendonly", "no", "--dir", str(self.folder)])
        self.wait("redis", lambda: answers(port))
        environment = dict(os.environ, SWITCHBOARD_CLUSTER_SECRET=secrets.token_urlsafe(32))
        names = [f"server-{number}" for number in range(self.instances)]
        for name in names:
            any_port = "127.0.0.1:0"
            self.run(name, [SERVERS / EXECUTABLES[self.adapter], "serve", "--redis", f"redis://127.0.0.1:{port}",
                            "--workers", "1", "--listen", any_port, "--api", any_port, "--peer", any_port,
                            *self.settings], environment)
        for name in names:
            self.wait(name, lambda name=name: "ready" in self.said(name))

    def run(self, name, command, environment=None):
        with open(self.folder / name, "wb") as out, open(self.folder / f"{name}.log", "wb") as log:
            self.processes[name] = subprocess.Popen(command, stdout=out, stderr=log, env=environment)

    def said(self, name):
        return (self.folder / name).read_text().splitlines()

    def wait(self, name, condition):
        end = time.monotonic() + READY_WITHIN
        while not condition():
            if time.monotonic() > end or self.processes[name].poll() is not None:
                log = (self.folder / name).read_text() + (self.folder / f"{name}.log").read_text()
                raise Failed(f"{name} does not start:\n{log}")
            time.sleep(0.05)

    def end(self):
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()
        self.processes = {}
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def redis(self):
        return self.processes["redis"].pid

    @property
    def servers(self):
        return [self.processes[f"server-{number}"].pid for number in range(self.instances)]

    def load(self, **options):
        """What switchboard-load shows with these options, if nothing was lost, doubled or out of order."""
        command = [TARGET / "switchboard-load", "--json", "--redis-pid", str(self.redis)]
        for number, pid in enumerate(self.servers):
            said = dict(line.split(" ", 1) for line in self.said(f"server-{number}") if " " in line)
            command += ["--ws", said["terminals"], "--api", said["api"], "--pid", str(pid)]
        for name, value in options.items():
            option = "--" + name.replace("_", "-")
            command += [option] if value is True else [option, str(value)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # It ends with the servers if this is interrupted.
        self.processes["load"] = process
        out, errors = process.communicate()
        return Load(out, errors, process.returncode, options["pushes"])


class Load:
    """What a run of the load generator has shown."""

    def __init__(self, out, errors="", status=0, pushes=None):
        try:
            self.report = json.loads(out)
        except ValueError:
            raise Failed(f"switchboard-load: {errors or out}") from None
        wrong = {name: self.report[name] for name in ("refused", "failed", "lost", "doubled", "out_of_order")}
        if status != 0 or any(wrong.values()):
            raise Failed(f"switchboard-load ends with {status}: {wrong} {errors}")
        if pushes not in (None, self.pushes):
            raise Failed(f"{self.pushes} of {pushes} pushes were handed in: {errors}")

    def micros(self, part, each, of="servers"):
        """Microseconds of processor time in a part of the run, for each of so many."""
        return self.report["processor_seconds"][part][of] * 1e6 / each

    @property
    def terminals(self):
        return self.report["terminals"]

    @property
    def pushes(self):
        return self.report["pushes"]

    @property
    def memory(self):
        """Bytes of an idle terminal."""
        return self.report["server"]["idle_bytes_per_terminal"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
