#!/usr/bin/env bash
# Prometheus with a scrape configuration as short as can be, and a target whose samples have the labels
# `instance` and `job` of their own.
#
# A good guess: the labels that a target prints arrive as they are, and a query by `instance` finds what
# the target calls an instance.
# What happens: both names belong to Prometheus. `instance` is the address that was scraped, and what the
# target had printed is `exported_instance` (and `exported_job`), unless `honor_labels` is set: then the
# target's own word counts, and its samples cannot be told apart from another target's any more by where
# they came from; `up` has the address either way.
# Seen with Prometheus 2.42.0 of Debian 12.
set -euo pipefail
for program in prometheus python3; do
    command -v "$program" >/dev/null || { echo "needed: $program" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/run.py" <<'PYTHON'
import http.server, json, socket, subprocess, sys, threading, time, urllib.parse, urllib.request

work = sys.argv[1]


class Target(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'# TYPE load gauge\nload{instance="seven",job="queue"} 1\n'
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
threading.Thread(target=target.serve_forever, daemon=True).start()
address = f"127.0.0.1:{target.server_port}"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def labels(port, query):
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    for _ in range(200):
        try:
            result = json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]
        except OSError:
            result = []
        if result:
            return {name: value for name, value in result[0]["metric"].items() if name != "__name__"}
        time.sleep(0.1)
    raise AssertionError(f"nothing was scraped for {query}")


def scraped(options):
    port = free_port()
    with open(f"{work}/prometheus.yml", "w") as file:
        json.dump({"scrape_configs": [{
            "job_name": "test", "scrape_interval": "200ms", "scrape_timeout": "200ms",
            "static_configs": [{"targets": [address]}], **options,
        }]}, file)
    prometheus = subprocess.Popen(
        ["prometheus", f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/data{port}",
         f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    try:
        return labels(port, "load"), labels(port, "up")
    finally:
        prometheus.terminate()
        prometheus.wait(20)


default, up = scraped({})
honored, up_too = scraped({"honor_labels": True})
print("the target prints:  {'instance': 'seven', 'job': 'queue'}")
print("default:           ", default)
print("honor_labels: true:", honored)
expected = {"instance": address, "job": "test"}
assert default == {**expected, "exported_instance": "seven", "exported_job": "queue"}, "this is not what was seen"
assert honored == {"instance": "seven", "job": "queue"}, "this is not what was seen"
assert up == up_too == expected, "this is not what was seen"
PYTHON
timeout 100 python3 "$work/run.py" "$work"
