#!/usr/bin/env bash
# nginx, `proxy_next_upstream http_503`, every other setting at its default, two servers that are
# restarted one after the other, and answer 503 meanwhile.
#
# A good guess: whoever answers 503 is passed over for that request, and there is always another who
# answers.
# What happens: the 503 is the one failure that `max_fails` allows, and its server is not asked again
# for `fail_timeout` (10 s). If the other one says 503 within that time, both are out: nginx answers 502
# ("no live upstreams") without asking anybody, also when both are well again. `max_fails=0` on each
# `server` line gives what was guessed.
# Seen with nginx 1.22.1 of Debian 12.
set -euo pipefail
export PATH="$PATH:/usr/sbin"
for program in nginx python3; do
    command -v "$program" >/dev/null || { echo "needed: $program" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/run.py" <<'PYTHON'
import http.client, http.server, socket, subprocess, sys, threading, time

work = sys.argv[1]
asked, draining = [], set()


def backend(name):
    """Answers 503 while it drains, else 200."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(name)
            self.send_response(503 if name in draining else 200)
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


def restarts(options):
    """What requests are answered while the first drains, the second, and none; and who was asked then."""
    listen, first, second = free_port(), backend("first"), backend("second")
    with open(f"{work}/nginx.conf", "w") as file:
        file.write(f"""
            daemon off; pid {work}/pid; error_log stderr; events {{}}
            http {{
                access_log off;
                upstream both {{ server 127.0.0.1:{first} {options}; server 127.0.0.1:{second} {options}; }}
                server {{
                    listen 127.0.0.1:{listen};
                    location / {{ proxy_pass http://both; proxy_next_upstream error timeout http_503; }}
                }}
            }}""")
    nginx = subprocess.Popen(["nginx", "-p", work, "-e", "stderr", "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_for(listen)
        answers = []
        for drains in ["first", "second", None]:
            draining.clear()
            draining.add(drains)
            asked.clear()
            answers.append([get(listen), get(listen)])
        return answers, len(asked)
    finally:
        nginx.terminate()
        nginx.wait(5)


def wait_for(port):
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)


seen = {}
for options in ["", "max_fails=0"]:
    answers, asked_then = seen[options] = restarts(options)
    print(f"{options or 'default':12} one drains: {answers[0]}, the other: {answers[1]}, "
          f"none: {answers[2]} with {asked_then} requests to them")
assert seen[""] == ([[200, 200], [502, 502], [502, 502]], 0), "this is not what was seen"
assert seen["max_fails=0"] == ([[200, 200]] * 3, 2), "this is not what was seen"
PYTHON
timeout 60 python3 "$work/run.py" "$work"
