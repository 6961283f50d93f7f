"""What every script in Python stands on: the place that the runner has built for it, checks that are
printed one by one, and a publisher."""

import asyncio
import base64
import hmac
import http.client
import json
import os
import sys
import time
import traceback
import urllib.parse
import uuid

# Servers, keys and limits, as `switchboard-foreign` wrote them down.
PLACE = json.loads(os.environ["FOREIGN_PLACE"])

# How long a check waits for what must come true: far longer than it takes.
PATIENCE = 30

_checks = []


def check(name):
    """Marks an asynchronous function as a check. They are run in the order in which they are written."""

    def note(function):
        _checks.append((name, function))
        return function

    return note


def run():
    """Runs the checks and ends the process, with 1 if one has failed."""

    async def all_of_them():
        failed = False
        for name, function in _checks:
            try:
                await function()
                print(f"ok {name}")
            except Exception:
                failed = True
                print(f"FAILED {name}\n{traceback.format_exc()}")
        return failed

    sys.exit(1 if asyncio.run(all_of_them()) else 0)


async def eventually(what, find):
    """Waits until `find` gives something true, and gives it."""
    end = time.monotonic() + PATIENCE
    while True:
        found = await find()
        if found:
            return found
        assert time.monotonic() < end, f"this did not come true: {what}"
        await asyncio.sleep(0.02)


class Api:
    """The HTTP API of one server, on a connection that is kept. A request runs in a thread, so that the
    event loop goes on answering pings."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection(
            urllib.parse.urlsplit(server["api"]).netloc, timeout=PATIENCE
        )

    async def send(self, method, path, body=None, headers=None):
        """Sends a request and gives status and body."""
        headers = {"Authorization": f"Bearer {PLACE['key']}", **(headers or {})}

        def exchange():
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            return response.status, json.loads(response.read())

        return await asyncio.to_thread(exchange)

    async def accepted(self, method, path, body=None, headers=None):
        status, answer = await self.send(method, path, body, headers)
        assert status == 200, answer
        return answer

    async def push(self, user, payload):
        """Pushes a `str` as text or `bytes` as binary, and gives the receipt."""
        if isinstance(payload, str):
            body, kind = payload.encode(), "text/plain"
        else:
            body, kind = payload, "application/octet-stream"
        return await self.accepted("POST", f"/v1/users/{user}/push", body, {"Content-Type": kind})

    async def push_to_one(self, user, payload):
        """Pushes, and demands that exactly one terminal was written to."""
        receipt = await self.push(user, payload)
        counts = {name: receipt[name] for name in ("written", "queued", "failed")}
        assert counts == {"written": 1, "queued": 0, "failed": 0}, counts

    async def connections(self, user):
        return (await self.accepted("GET", f"/v1/users/{user}/connections"))["connections"]

    async def kick(self, user, uuid):
        return await self.accepted("DELETE", f"/v1/users/{user}/connections/{uuid}")

    async def instance(self):
        """The id of the instance that answers here."""
        instances = (await self.accepted("GET", "/v1/instances"))["instances"]
        return next(each["instance"] for each in instances if each["this"])


async def push_logged(user, payload):
    """Pushes durably, at either server in turns, and repeats it under its id until one says where in the log it is."""
    body = payload.encode() if isinstance(payload, str) else payload
    kind = "text/plain" if isinstance(payload, str) else "application/octet-stream"
    headers = {"Content-Type": kind, "Idempotency-Key": str(uuid.uuid4())}
    turn = 0

    async def taken():
        nonlocal turn
        api = Api(PLACE["servers"][turn % 2])
        turn += 1
        try:
            status, answer = await api.send("POST", f"/v1/users/{user}/push?durable=true&deadline=1s", body, headers)
        except (OSError, http.client.HTTPException):
            return False  # It was killed, and may have taken it.
        finally:
            api.connection.close()
        return status == 200 and answer["logged"] not in ("unknown", "refused")

    await eventually("a server takes the push", taken)


async def restart(number):
    """Has the runner start a server again, after killing it if it lives."""
    print(f"restart {number}")
    PLACE["servers"][number] = json.loads(await asyncio.to_thread(sys.stdin.readline))


async def holder(user):
    """Which server holds the user's only connection, and which does not."""
    [connection] = await Api(PLACE["servers"][0]).connections(user)
    first, second = PLACE["servers"]
    if await Api(first).instance() == connection["instance"]:
        return first, second
    assert await Api(second).instance() == connection["instance"]
    return second, first


def token(user, seconds=600, **claims):
    """A token of the identity provider that the `tokens` server trusts."""

    def part(content):
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    def text(value):
        return part(json.dumps(value).encode())

    claims = {"sub": user, "exp": int(time.time()) + seconds, **claims}
    message = f"{text({'alg': 'HS256', 'typ': 'JWT'})}.{text(claims)}"
    return f"{message}.{part(hmac.digest(PLACE['tokens']['secret'].encode(), message.encode(), 'sha256'))}"
