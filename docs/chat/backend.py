"""The backend of a chat with Switchboard, on nothing but Python: who somebody is, and what is said to whom."""

import base64
import hmac
import json
import os
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PORT = int(os.environ.get("PORT", "3000"))
SWITCHBOARD = os.environ.get("SWITCHBOARD", "http://127.0.0.1:8080")
API = os.environ.get("API", "http://127.0.0.1:8081").split(",")
SECRET = Path(os.environ.get("JWT_SECRET_FILE", "jwt-secret")).read_text().strip()
KEY = Path(os.environ.get("API_KEY_FILE", "api-keys")).read_text().strip()
CENTRIFUGE = Path(os.environ.get("CENTRIFUGE", "node_modules/centrifuge/dist/centrifuge.js"))
PAGE = Path(__file__).with_name("chat.html")
ROOM = ["ann", "bob", "cat"]


def token(user):
    """A token that says who somebody is, for ten minutes."""

    def part(content):
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    header, claims = {"alg": "HS256", "typ": "JWT"}, {"sub": user, "exp": int(time.time()) + 600}
    message = f"{part(json.dumps(header).encode())}.{part(json.dumps(claims).encode())}"
    return f"{message}.{part(hmac.digest(SECRET.encode(), message.encode(), 'sha256'))}"


def push(text, identity):
    """Pushes to everybody in the room, at one server after the other until one has it in each log."""
    for api in API:
        body = json.dumps({"users": ROOM, "text": text}).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": identity}
        request = urllib.request.Request(f"{api}/v1/push?durable=true", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                logged = json.load(answer)["logged"]
        except OSError:
            continue
        if all(logged.get(user) not in (None, "unknown", "refused") for user in ROOM):
            return True
    return False


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        match urlsplit(self.path).path:
            case "/":
                self.answer(200, "text/html", PAGE.read_bytes())
            case "/centrifuge.js":
                self.answer(200, "text/javascript", CENTRIFUGE.read_bytes())
            case "/config":
                self.answer(200, "application/json", json.dumps({"switchboard": SWITCHBOARD}).encode())
            case _:
                self.answer(404, "text/plain", b"not found")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match self.path:
            # A real one asks who has logged in, and does not believe what the page says.
            case "/token" if body["user"] in ROOM:
                self.answer(200, "text/plain", token(body["user"]).encode())
            case "/token":
                self.answer(403, "text/plain", b"")
            case "/say":
                text = json.dumps({"user": body["user"], "text": body["text"]})
                self.answer(200 if push(text, body["id"]) else 503, "text/plain", b"")
            case _:
                self.answer(404, "text/plain", b"not found")

    def answer(self, status, media_type, content):
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing: what is asked for has no place in a log."""


print(f"the chat is at http://127.0.0.1:{PORT}/?user=ann", flush=True)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
