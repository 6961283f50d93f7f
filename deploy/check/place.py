"""Real servers, Redis and Prometheus for the checks. All of it ends with its `with` block."""

import base64
import contextlib
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
SERVER = os.environ["SWITCHBOARD_BIN"]
KEY = "a key of these test servers"
SECRET = "a secret of these test servers"

# How long a check waits for what must come true: far longer than it takes.
PATIENCE = 60


def run(*command, **options):
    """Runs a program and gives what it printed; an error says that as well."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False, **options
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}"
    return done.stdout


def eventually(what, find):
    """Waits until `find` gives something true, and gives it."""
    end = time.monotonic() + PATIENCE
    while not (found := find()):
        assert time.monotonic() < end, f"this did not come true: {what}"
        time.sleep(0.1)
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def get(port, path, key=None, data=None):
    """Status and body of a request to an API."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@contextlib.contextmanager
def process(*command, **options):
    """A program, which ends with all that it has started."""
    child = subprocess.Popen([str(word) for word in command], start_new_session=True, **options)
    try:
        yield child
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@contextlib.contextmanager
def redis():
    """A Redis, and its URL."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with process("redis-server", *options, stdout=subprocess.DEVNULL):
            eventually("Redis answers", lambda: reaches(port))
            yield f"redis://127.0.0.1:{port}"


def reaches(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def serving(url, arguments, environment, secrets, under=()):
    """A server that is ready, with settings from a file of this folder, but for its addresses. `under` is
    the command of a program that runs it, as strace does."""
    with tempfile.TemporaryDirectory() as folder:
        started = Server(folder, url, arguments, environment, secrets)
        with (
            open(pathlib.Path(folder, "log"), "w+") as started.log,
            process(*under, *started.command, env=started.environment, stdout=subprocess.PIPE, stderr=started.log, text=True)
            as started.child,
        ):
            try:
                started.await_ready()
                yield started
            finally:
                started.child.kill()  # it has drained, or is not to


class Server:
    """A server of `serving`, whose files are in a folder."""

    def __init__(self, folder, url, arguments, environment, secrets):
        self.terminals, self.api, peer = (free_port() for _ in range(3))
        used = {
            "redis://redis:6379": url,
            "redis://10.0.0.10:6379": url,
            "0.0.0.0:8080": f"0.0.0.0:{self.terminals}",
            "0.0.0.0:8081": f"0.0.0.0:{self.api}",
            "0.0.0.0:8082": f"0.0.0.0:{peer}",
            "a:8082": f"127.0.0.1:{peer}",
            "b:8082": f"127.0.0.1:{peer}",
            "10.0.0.1:8082": f"127.0.0.1:{peer}",
            "$(POD_IP):8082": f"127.0.0.1:{peer}",
            secrets: folder,
        }

        def replaced(text):
            for documented, value in used.items():
                text = text.replace(documented, value)
            return text

        for name, content in {"cluster-secret": SECRET, "api-keys": KEY}.items():
            path = pathlib.Path(folder, name)
            path.write_text(content)
            path.chmod(0o600)
        settings = pathlib.Path(folder, "switchboard.toml")
        settings.write_text(replaced((DEPLOY / "switchboard.toml").read_text()))
        words = [replaced(str(word)).replace("/etc/switchboard/switchboard.toml", str(settings)) for word in arguments]
        self.command = [SERVER, *words]
        self.environment = {"PATH": os.environ["PATH"]}
        self.environment |= {name: replaced(str(value)) for name, value in environment.items()}

    def await_ready(self):
        lines = queue.Queue()

        def read():
            for line in self.child.stdout:
                lines.put(line.strip())
            lines.put("it has ended")

        threading.Thread(target=read, daemon=True).start()
        try:
            while (line := lines.get(timeout=PATIENCE)) != "ready":
                assert line != "it has ended", f"it did not start: {self.said()}"
        except queue.Empty:
            raise AssertionError(f"it is not ready: {self.said()}") from None

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def drain(self, seconds):
        """It ends by itself, without a fault, within this time."""
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(seconds) == 0, self.said()

    def connect(self, user):
        """A terminal that has been greeted. It reads nothing more."""
        stream = socket.create_connection(("127.0.0.1", self.terminals), PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET /connect?user={user} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", "",
        ]
        stream.sendall("\r\n".join(lines).encode())
        read = b""
        while b'"hello"' not in read:
            part = stream.recv(4096)
            assert part, f"refused: {read!r}"
            read += part
        return stream

    def push(self, user, text, query=""):
        return self.post(f"/v1/users/{user}/push{query}", text)

    def push_to_topic(self, topic, text):
        return self.post(f"/v1/topics/{topic}/push", text)

    def post(self, path, text):
        status, body = get(self.api, path, KEY, text.encode())
        assert status == 200, body
        return json.loads(body)

    def knows(self, count):
        instances = json.loads(get(self.api, "/v1/instances", KEY)[1])["instances"]
        return len(instances) == count and all(instance["state"] == "up" for instance in instances)


@contextlib.contextmanager
def prometheus(targets):
    """A Prometheus with the rules of this folder, quicker than it is there, and its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"},
            "rule_files": [str(DEPLOY / "prometheus/alerts.yml")],
            "scrape_configs": [{"job_name": "switchboard", "static_configs": [{"targets": targets}]}],
        }
        path = pathlib.Path(folder, "prometheus.yml")
        path.write_text(json.dumps(settings))
        options = [f"--config.file={path}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
        with process("prometheus", *options, stderr=subprocess.DEVNULL):
            eventually("Prometheus answers", lambda: reaches(port))
            yield port
