"""Python's `websockets` with its default settings, directly at two servers."""

import asyncio
import json

from check import PLACE, Api, check, eventually, run, token
from terminal import Terminal, payloads, refused

NEAR, FAR = PLACE["servers"]
FAR_API = Api(FAR)


def at(user):
    return f"{NEAR['terminals']}?user={user}"


def dropped(number):
    return json.dumps({"switchboard": {"dropped": number}}, separators=(",", ":"))


async def not_listed(user):
    async def gone():
        return not await FAR_API.connections(user)

    await eventually("it is not listed", gone)


@check("the first frame is the hello, and its UUID is the one that is listed")
async def _():
    terminal = await Terminal.open(at("hello"))
    [listed] = await FAR_API.connections("hello")
    assert listed["connection"] == terminal.uuid


@check("permessage-deflate is offered and declined")
async def _():
    terminal = await Terminal.open(at("deflate"))
    assert terminal.socket.request.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
    assert "Sec-WebSocket-Extensions" not in terminal.socket.response.headers
    await FAR_API.push_to_one("deflate", "a" * 100_000)
    assert await terminal.frame() == "a" * 100_000


@check("text and binary arrive byte for byte, from an empty frame to the largest")
async def _():
    terminal = await Terminal.open(at("bytes"))
    for payload in payloads(PLACE["push_bytes"]):
        await FAR_API.push_to_one("bytes", payload)
        assert await terminal.frame() == payload, payload[:40]


@check("one byte more than the largest push is refused, and disturbs nobody")
async def _():
    terminal = await Terminal.open(at("large"))
    # The server stops reading, so a connection of its own.
    status, answer = await Api(FAR).send("POST", "/v1/users/large/push", bytes(PLACE["push_bytes"] + 1))
    assert (status, answer["error"]["code"]) == (413, "too_large")
    await FAR_API.push_to_one("large", "after it")
    assert await terminal.frame() == "after it"


@check("1,000 pushes through the other server keep their order")
async def _():
    terminal = await Terminal.open(at("burst"))

    async def publish():
        for number in range(1000):
            await FAR_API.push_to_one("burst", f"push {number}")

    # The library answers no pings while many frames wait for the program.
    publisher = asyncio.create_task(publish())
    for number in range(1000):
        assert await terminal.frame() == f"push {number}"
    await publisher


@check("a message of the largest size is answered, in one frame or in fragments")
async def _():
    terminal = await Terminal.open(at("fragments"))
    largest = "m" * PLACE["frame_bytes"]
    await terminal.socket.send(largest)
    assert await terminal.frame() == dropped(1)
    third = PLACE["frame_bytes"] // 3
    await terminal.socket.send([largest[:third], "", largest[third : 2 * third], largest[2 * third :]])
    assert await terminal.frame() == dropped(2)
    await terminal.socket.send([bytes([number % 256]) for number in range(1000)])
    assert await terminal.frame() == dropped(3)


@check("one byte more closes with 1009, in one frame or in fragments")
async def _():
    whole = await Terminal.open(at("over"))
    await whole.socket.send(bytes(PLACE["frame_bytes"] + 1))
    assert (await whole.ending())[0] == 1009
    fragments = await Terminal.open(at("over"))
    await fragments.socket.send([bytes(PLACE["frame_bytes"]), b"x"])
    assert (await fragments.ending())[0] == 1009


@check("text that is not UTF-8 closes with 1007")
async def _():
    terminal = await Terminal.open(at("broken"))
    await terminal.socket.send(b"a\xff", text=True)
    assert (await terminal.ending())[0] == 1007


@check("the terminal's own close is echoed")
async def _():
    terminal = await Terminal.open(at("leaves"))
    await terminal.socket.close(4321, "enough")
    assert await terminal.ending() == (4321, "enough")
    await not_listed("leaves")


@check("a kick closes with 4001")
async def _():
    terminal = await Terminal.open(at("kick"))
    receipt = await FAR_API.kick("kick", terminal.uuid)
    assert receipt["terminals"] == [{"user": "kick", "connection": terminal.uuid, "outcome": "written"}]
    assert await terminal.ending() == (4001, "kicked")


@check("pings are answered by the library: an idle terminal stays")
async def _():
    terminal = await Terminal.open(at("idle"))

    async def four():
        return terminal.pings >= 4

    await eventually("four pings", four)
    await FAR_API.push_to_one("idle", "still here")
    assert await terminal.frame() == "still here"


@check("a ping of the terminal is answered")
async def _():
    terminal = await Terminal.open(at("pings"))
    assert await asyncio.wait_for(await terminal.socket.ping(b"x" * 125), 30) >= 0


@check("a terminal that answers nothing is closed with 4004, and finds it out when it reads")
async def _():
    terminal = await Terminal.open(at("mute"))
    terminal.socket.transport.pause_reading()
    await not_listed("mute")
    terminal.socket.transport.resume_reading()
    assert await terminal.ending() == (4004, "ping timeout")


@check("a socket that is half closed ends, and so does its row")
async def _():
    terminal = await Terminal.open(at("half"))
    terminal.socket.transport.write_eof()
    assert (await terminal.ending())[0] == 1006
    await not_listed("half")


@check("a token counts in the header and as a subprotocol, which is answered without it")
async def _():
    url = PLACE["tokens"]["terminals"]
    header = await Terminal.open(url, additional_headers={"Authorization": f"Bearer {token('ann')}"})
    offered = await Terminal.open(url, subprotocols=["switchboard.v1", f"bearer.{token('ann')}"])
    assert (header.socket.subprotocol, offered.socket.subprotocol) == (None, "switchboard.v1")
    assert (await Api(PLACE["tokens"]).push("ann", "both"))["written"] == 2
    assert [await header.frame(), await offered.frame()] == ["both", "both"]


@check("a token that expires closes with 4002")
async def _():
    headers = {"Authorization": f"Bearer {token('short', 3)}"}
    terminal = await Terminal.open(PLACE["tokens"]["terminals"], additional_headers=headers)
    assert await terminal.ending() == (4002, "token expired")


@check("refusals say why")
async def _():
    url = PLACE["tokens"]["terminals"]

    async def code(url, **options):
        status, headers, body = await refused(url, **options)
        assert (status == 401) == headers.get("WWW-Authenticate", "").startswith("Bearer")
        assert body["error"]["message"]
        return f"{status} {body['error']['code']}"

    def bearer(value):
        return {"Authorization": f"Bearer {value}"}

    assert await code(url) == "401 no_token"
    assert await code(url, additional_headers=bearer("nonsense")) == "401 invalid_token"
    assert await code(url, additional_headers=bearer(token("ann", -600))) == "401 token_expired"
    assert await code(NEAR["terminals"]) == "400 bad_request"
    assert await code(at("ann"), origin="https://elsewhere.example") == "403 foreign_origin"


run()
