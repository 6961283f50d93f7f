#!/usr/bin/env bash
# HAProxy, `retry-on 503`, two servers of which one answers 503.
#
# A good guess: the request that got 503 is tried again at the other server, as nginx's
# `proxy_next_upstream` does.
# What happens: it is tried again at the same server, as often as `retries` says, and the client gets the
# 503 of the last time. Only `option redispatch` sends it elsewhere.
# Seen with HAProxy 2.6.12 of Debian 12.
set -euo pipefail
export PATH="$PATH:/usr/sbin"
for program in haproxy python3; do
    command -v "$program" >/dev/null || { echo "needed: $program" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/run.py" <<'PYTHON'
import http.client, http.server, socket, subprocess, sys, threading, time

work = sys.argv[1]
asked = []


def backend(name, status):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(name)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def free_port():
    server = http.server.HTTPServer(("127.0.0.1", 0), None)
    server.server_close()
    return server.server_port


def get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/")
    return connection.getresponse().status


def first_request(options):
    """What the first request is answered, and who was asked. Round robin begins with the one that drains."""
    listen, draining, well = free_port(), backend("draining", 503), backend("well", 200)
    with open(f"{work}/haproxy.cfg", "w") as file:
        file.write(f"""
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
frontend all
    bind 127.0.0.1:{listen}
    default_backend both
backend both
    retries 2
    retry-on 503
    {options}
    server draining 127.0.0.1:{draining}
    server well 127.0.0.1:{well}
""")
    haproxy = subprocess.Popen(["haproxy", "-db", "-f", f"{work}/haproxy.cfg"], stderr=subprocess.DEVNULL)
    try:
        wait_for(listen)
        asked.clear()
        return get(listen), list(asked)
    finally:
        haproxy.terminate()
        haproxy.wait(5)


def wait_for(port):
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)


default, redispatched = first_request(""), first_request("option redispatch")
print(f"default:           {default[0]}, asked: {', '.join(default[1])}")
print(f"option redispatch: {redispatched[0]}, asked: {', '.join(redispatched[1])}")
assert default == (503, ["draining"] * 3), "this is not what was seen"
assert redispatched == (200, ["draining", "well"]), "this is not what was seen"
PYTHON
timeout 60 python3 "$work/run.py" "$work"
