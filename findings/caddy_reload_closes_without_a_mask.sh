#!/usr/bin/env bash
# Caddy, `reverse_proxy` in front of a WebSocket server, and a reload of its configuration.
#
# A good guess: a reload is graceful, so open WebSockets go on, or end as a client ends them.
# What happens: each ends at the reload. Caddy writes the same Close frame (1001) to both sides. It has
# no mask, so towards the client it is right, and towards the server it breaks RFC 6455 (5.1: a client
# masks all frames): a strict server sees a protocol error of its client. Also a reload that changes
# nothing ends them, if it is forced.
# Seen with Caddy 2.6.2 of Debian 12.
set -euo pipefail
for program in caddy python3; do
    command -v "$program" >/dev/null || { echo "needed: $program" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_DATA_HOME="$work/data" XDG_CONFIG_HOME="$work/config" # where Caddy writes

cat >"$work/run.py" <<'PYTHON'
import base64, hashlib, os, socket, subprocess, sys, threading, time

work = sys.argv[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def head(stream):
    read = b""
    while not read.endswith(b"\r\n\r\n"):
        read += stream.recv(1)
    return read.decode()


def rest(stream):
    """All bytes up to the end."""
    return b"".join(iter(lambda: stream.recv(4096), b""))


def serve(listener, seen):
    """Completes a handshake, and notes what comes after it."""
    stream, _ = listener.accept()
    stream.settimeout(20)
    [key] = [line.split(": ")[1] for line in head(stream).split("\r\n") if line.lower().startswith("sec-websocket-key")]
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    accept = base64.b64encode(digest).decode()
    stream.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    seen.append(rest(stream))


def connect(port):
    for _ in range(200):
        try:
            stream = socket.create_connection(("127.0.0.1", port), 20)
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    assert " 101 " in head(stream)
    return stream


def reload(backend, header):
    """What server and client see when Caddy's configuration is replaced by one with this header."""
    listen, admin = free_port(), free_port()

    def configure(value):
        with open(f"{work}/Caddyfile", "w") as file:
            file.write(f"{{\n\tadmin 127.0.0.1:{admin}\n}}\nhttp://127.0.0.1:{listen} {{\n\theader Version {value}\n\treverse_proxy 127.0.0.1:{backend.getsockname()[1]}\n}}\n")

    configure("one")
    caddy = subprocess.Popen(["caddy", "run", "--config", f"{work}/Caddyfile", "--adapter", "caddyfile"], stderr=subprocess.DEVNULL)
    try:
        seen = []
        server = threading.Thread(target=serve, args=(backend, seen), daemon=True)
        server.start()
        client = connect(listen)
        configure(header)
        subprocess.run(["caddy", "reload", "--force", "--config", f"{work}/Caddyfile", "--adapter", "caddyfile"], stderr=subprocess.DEVNULL, check=True)
        by_client = rest(client)
        server.join(20)
        return by_client, seen[0]
    finally:
        caddy.terminate()
        caddy.wait(20)


for what, header in [("changed", "two"), ("the same", "one")]:
    by_client, by_server = reload(socket.create_server(("127.0.0.1", 0)), header)
    print(f"{what}: the client got {by_client.hex(' ')}, the server {by_server.hex(' ')}")
    assert by_client == by_server == bytes([0x88, 2, 0x03, 0xE9]), "this is not what was seen"
PYTHON
timeout 100 python3 "$work/run.py" "$work"
