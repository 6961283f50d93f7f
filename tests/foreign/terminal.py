"""A terminal on Python's `websockets`, with its default settings, and payloads that are easily bent on
the way."""

import asyncio
import json
import logging
import uuid

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from check import PATIENCE


class Terminal:
    """A connection that has been greeted."""

    @classmethod
    async def open(cls, url, **options):
        """Connects, and waits for the hello."""
        terminal = cls()
        log = Pings()
        terminal.log = log
        # An idle terminal must live by the server's pings, so it sends none of its own.
        terminal.socket = await connect(
            url, ping_interval=None, logger=log.logger, **options
        )
        terminal.uuid = hello(await terminal.frame())
        return terminal

    async def frame(self):
        """The next frame: a `str` if it is text, `bytes` if it is binary."""
        return await asyncio.wait_for(self.socket.recv(), PATIENCE)

    async def ending(self):
        """Code and reason with which it ends."""
        try:
            while True:
                await self.frame()
        except ConnectionClosed as closed:
            frame = closed.rcvd
            return (frame.code, frame.reason) if frame else (1006, "")

    @property
    def pings(self):
        """Pings that the library has answered."""
        return self.log.answered


class Pings(logging.Handler):
    """Counts the pings that the library answers by itself: they show in its log and nowhere else."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.answered = 0
        self.logger = logging.Logger("websockets", logging.DEBUG)
        self.logger.addHandler(self)

    def emit(self, record):
        self.answered += record.getMessage().startswith("> PONG")


async def refused(url, **options):
    """Status, headers and body of the answer to a handshake that is refused."""
    try:
        await connect(url, **options)
    except InvalidStatus as refusal:
        response = refusal.response
        return response.status_code, response.headers, json.loads(response.body)
    raise AssertionError(f"{url} was not refused")


def hello(frame):
    """The UUID in a hello without a doubt."""
    content = json.loads(frame)
    identity = content["switchboard"]["hello"]["uuid"]
    assert content == {"switchboard": {"hello": {"uuid": str(uuid.UUID(identity))}}}, content
    return identity


def payloads(largest):
    """Texts and bytes at every boundary of the framing, up to the largest push that is allowed."""
    texts = [
        "",
        "plain",
        "\ufeffa mark, a \0, \r\n, ümlaut, 漢字, \U0001f44d\U0001f3fd, \U0010ffff",
        '{"switchboard": 1, "and": 2}',
        "é" * (largest // 2),
    ]
    lengths = [0, 1, 125, 126, 127, 65_535, 65_536, largest]
    return texts + [bytes((index * 31 + length) % 256 for index in range(length)) for length in lengths]
