"""Python's `websockets` behind a proxy with the configuration of `deploy/`."""

import asyncio
import os
import signal
import urllib.parse

from check import PATIENCE, PLACE, Api, check, eventually, holder, run
from terminal import Terminal, payloads


def url(user):
    return f"{PLACE['proxy']['url']}?user={user}"


@check("an idle terminal outlives the timeouts of the proxy by the pings of the server")
async def _():
    terminal = await Terminal.open(url("idle"))
    await asyncio.sleep(PLACE["idle_seconds"])
    assert terminal.pings >= 2, terminal.pings
    await Api(PLACE["servers"][1]).push_to_one("idle", "still here")
    assert await terminal.frame() == "still here"


@check("payloads arrive byte for byte through the proxy")
async def _():
    terminal = await Terminal.open(url("bytes"))
    api = Api(PLACE["servers"][0])
    for payload in payloads(PLACE["push_bytes"]):
        await api.push_to_one("bytes", payload)
        assert await terminal.frame() == payload, payload[:40]


@check("an event stream passes as it comes, and its server hears that the client has left")
async def _():
    address = urllib.parse.urlsplit(url("stream"))
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    # Over HTTP/1.0 nothing is sent in chunks.
    request = f"GET {address.path}?{address.query} HTTP/1.0\r\nHost: {address.netloc}\r\n"
    writer.write(f"{request}Accept: text/event-stream\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert b" 200 " in head.splitlines()[0], head

    async def event():
        read = await asyncio.wait_for(reader.readuntil(b"\n\n"), PATIENCE)
        return read.decode().removesuffix("\n\n")

    assert (await event()).startswith("retry: ")
    assert (await event()).startswith('data: {"switchboard":{"hello":')
    api = Api(PLACE["servers"][0])
    await api.push_to_one("stream", "one")
    assert await event() == "data: one"
    writer.close()

    async def has_none():
        return not await api.connections("stream")

    await eventually("no connection is left", has_none)


@check("after a drain the other upstream has the terminal, and loses nothing pushed after its hello")
async def _():
    before = await Terminal.open(url("drain"))
    held, other = await holder("drain")
    api = Api(other)
    pushed = 0
    stop = asyncio.Event()

    async def publish():
        nonlocal pushed
        while not stop.is_set():
            await api.push("drain", str(pushed))
            pushed += 1

    publisher = asyncio.create_task(publish())
    await before.frame()
    os.kill(held["pid"], signal.SIGTERM)
    assert await before.ending() == (1012, "service restart")
    after = await Terminal.open(url("drain"))
    first = pushed + 1  # One may be under way: it was handed in before the hello was read.

    async def enough():
        assert not publisher.done(), publisher.result()
        return pushed >= first + 300

    await eventually("300 pushes after it", enough)
    stop.set()
    await publisher

    api = Api(other)
    [listed] = [each for each in await api.connections("drain") if each["connection"] == after.uuid]
    assert listed["instance"] == await api.instance()
    frames = [int(await after.frame())]
    assert frames[0] <= first, f"{frames[0]} is the first of those after {first}"
    while frames[-1] != pushed - 1:
        frames.append(int(await after.frame()))
    assert frames == list(range(frames[0], pushed)), "in order, without a gap, none twice"


run()
