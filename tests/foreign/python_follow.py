"""The example clients of docs/clients in Python, on `websockets`, behind a proxy with the configuration of `deploy/`."""

import asyncio
import http.client
import json
import os
import signal
import sys
import urllib.parse
import uuid
from pathlib import Path

from websockets.asyncio.server import serve

from check import PLACE, Api, check, eventually, push_logged, restart, run, token

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "clients"))
from follow import follow  # noqa: E402
from short import follow as follow_shortly  # noqa: E402

# How long a server stays away, and how long both are there between two kills.
DEAD_SECONDS = 1
ALIVE_SECONDS = 3

# Between two pushes to a user: a log keeps 100 records, and who is away for seconds must find them.
PAUSE_SECONDS = 0.1


class Follower:
    """A client of the example, and what it was handed."""

    def __init__(self, url, **options):
        self.records, self.plain, self.missing = [], [], 0
        self.task = asyncio.create_task(self._follows(url, options))

    def _follows(self, url, options):
        return follow(url, self._record, self.plain.append, self._is_missing, **options)

    def _record(self, data, _):
        self.records.append(data)

    def _is_missing(self):
        self.missing += 1

    async def has(self, count):
        """Waits for so many records, and ends it."""

        async def enough():
            assert not self.task.done(), self.task
            return len(self.records) >= count

        await eventually(f"{count} records", enough)
        self.task.cancel()


class ShortFollower(Follower):
    """The same of the short example, which tells of no plain pushes."""

    def _follows(self, url, options):
        return follow_shortly(url, self._record, self._is_missing, **options)


def url(user):
    return f"{PLACE['proxy']['url']}?user={user}"


async def connected(user, count=1):
    async def are():
        return len(await Api(PLACE["servers"][0]).connections(user)) == count

    await eventually("it is connected", are)


async def kill_and_restart(number):
    """Kills a server without a word, and has the runner start it again."""
    os.kill(PLACE["servers"][number]["pid"], signal.SIGKILL)
    await asyncio.sleep(DEAD_SECONDS)
    await restart(number)


def payload(number):
    """The payload of a number: every third one is binary."""
    return f"binary {number}".encode() if number % 3 == 0 else f"text {number}"


@check("each record comes once and in its order while servers are killed and started again")
async def _():
    followers = [(user, Follower(url(user))) for user in ("ann", "ann", "bob")]
    followers += [(user, ShortFollower(url(user))) for user in ("ann", "bob")]
    await connected("ann", 3)
    await connected("bob", 2)
    stop = asyncio.Event()

    async def publish(user):
        count = 0
        while not stop.is_set():
            await push_logged(user, payload(count))
            count += 1
            await asyncio.sleep(PAUSE_SECONDS)
        return count

    publishers = {user: asyncio.create_task(publish(user)) for user in ("ann", "bob")}
    for server in (0, 1, 0, 1):
        await asyncio.sleep(ALIVE_SECONDS)
        await kill_and_restart(server)
    await asyncio.sleep(ALIVE_SECONDS)
    stop.set()
    for user, got in followers:
        count = await publishers[user]
        await got.has(count)
        assert got.records == [payload(number) for number in range(count)]
        assert (got.missing, got.plain) == (0, [])


@check("plain pushes come in between")
async def _():
    got = Follower(url("cat"))
    await connected("cat")
    await push_logged("cat", "first")
    # One may begin as Switchboard's own frames do.
    plain = ["plain", '{"switchboard":', '{"switchboard":7}']
    for text in plain:
        await Api(PLACE["servers"][0]).push("cat", text)
    await push_logged("cat", "second")
    await got.has(2)
    assert (got.records, got.plain, got.missing) == (["first", "second"], plain, 0)


@check("what it has taken it confirms")
async def _():
    for user, kind in (("gil", Follower), ("hal", ShortFollower)):
        got = kind(url(user))
        await connected(user)
        for text in ("plain", '{"switchboard":', '{"switchboard":7}'):
            await Api(PLACE["servers"][0]).push(user, text)
        at = f"/v1/users/{user}/push?durable=true&until=acked&deadline=10s"
        receipt = await Api(PLACE["servers"][0]).accepted("POST", at, b"confirmed")
        assert receipt["acked"] == 1, receipt
        await got.has(1)


@check("who comes with a position that the log does not know is told, and gets what is kept")
async def _():
    await push_logged("dan", "kept")
    for kind in (Follower, ShortFollower):
        got = kind(url("dan"), after=["00000000000001ffffffff"])
        await got.has(1)
        assert (got.records, got.missing) == (["kept"], 1)


@check("after `back` what comes again is dropped, and the last positions are offered, newest first")
async def _():
    def message(position, identity):
        return {"message": {"position": position, "id": identity}}

    def hello(log):
        return {"hello": {"uuid": "u", "log": log}}

    connections = [
        [hello({"position": "A", "resumed": False}), message("B", "1"), "one", message("C", "2"), "two"],
        [
            hello({"position": "C", "resumed": True}),
            {"back": {"position": "B"}},
            *(message("D", "2"), "two", message("E", "3"), "three"),
        ],
        [hello(None), {"log": {"position": "E", "resumed": True}}, {"gap": {"position": "F"}}],
        [hello({"position": "G", "resumed": False, "reason": "expired"})],
        [],
    ]
    asked = []

    async def talk(socket):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(socket.request.path).query)
        asked.append(query.get("after", []))
        for frame in connections[len(asked) - 1]:
            await socket.send(frame if isinstance(frame, str) else json.dumps({"switchboard": frame}))
        await socket.close(1012 if len(asked) < len(connections) else 4001)

    for kind in (Follower, ShortFollower):
        asked.clear()
        async with serve(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            got = kind(f"ws://127.0.0.1:{port}/connect")
            ended = await got.task
        assert ended == (4001 if kind is Follower else None)
        assert (got.records, got.missing) == (["one", "two", "three"], 2)
        assert asked == [[], ["C", "B", "A"], ["E", "D", "B", "A"], ["F"], ["G"]]


@check("a token is asked for at each connection")
async def _():
    asked = 0

    async def fresh():
        nonlocal asked
        asked += 1
        return token("fay", 2)

    got = Follower(PLACE["tokens"]["terminals"], token=fresh)

    async def back():
        return asked >= 2

    await eventually("it is back", back)
    await Api(PLACE["tokens"]).accepted("POST", "/v1/users/fay/push?durable=true", b"to who has a new token")
    await got.has(1)


run()
