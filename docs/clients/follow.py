"""Follows a user's log: each record once and in its order, over as many connections as it takes
(../protocol.md#the-log). It stands on the package `websockets`, 13 or newer (pip install websockets), which answers
pings and sends its own."""

import asyncio
import json
import random
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

POSITIONS = 8  # that are offered on return; a server reads up to 16
IDS = 1000  # of records that are known again: more than a log keeps by default
FINAL = (1002, 1007, 1009, 4001)  # closes after which nobody comes back by itself
CONFIRM_SECONDS, CONFIRM_RECORDS = 1, 64  # after so long, or so many, it confirms what it has taken


def own_frame(data):
    """A frame of Switchboard's own. None: a payload, also one that begins as these do."""
    if not isinstance(data, str) or not data.startswith('{"switchboard":'):
        return None
    try:
        own = json.loads(data)["switchboard"]
    except ValueError:
        return None
    return own if isinstance(own, dict) else None


async def follow(url, record, plain, missing, token=None, after=()):
    """`record(data, id)` and `plain(data)` get what is pushed. When `missing()` is called something is lost:
    ask your server. Ends with the code of a close after which nobody comes back by itself."""
    positions, ids, attempts = list(after), {}, 0  # positions: the newest first
    clock = asyncio.get_running_loop().time
    while True:
        code = None
        query = urlencode([("after", position) for position in positions] or [("log", "1")])
        try:
            headers = {"Authorization": f"Bearer {await token()}"} if token else {}
            address = f"{url}{'&' if '?' in url else '?'}{query}"
            async with connect(address, max_size=None, additional_headers=headers) as socket:
                unconfirmed, due = 0, None
                while True:
                    if unconfirmed >= CONFIRM_RECORDS or (due and clock() >= due):
                        await socket.send(json.dumps({"switchboard": {"ack": positions[0]}}))
                        unconfirmed, due = 0, None
                    try:
                        async with asyncio.timeout_at(due):
                            data = await socket.recv()
                    except TimeoutError:
                        continue
                    own = own_frame(data)
                    if own is None:
                        plain(data)
                    elif message := own.get("message"):
                        data = await socket.recv()
                        if message["id"] not in ids:  # after a gap and after `back` it may come again
                            record(data, message["id"])
                        ids[message["id"]] = None
                        if len(ids) > IDS:
                            del ids[next(iter(ids))]
                        positions = [message["position"], *positions][:POSITIONS]
                        unconfirmed, due = unconfirmed + 1, due or clock() + CONFIRM_SECONDS
                    else:
                        attempts = 0 if "hello" in own else attempts
                        stands = own.get("hello", own).get("log") or own.get("gap") or own.get("back")
                        if stands:  # it goes on here: what is newer is not in the log
                            here = stands["position"]
                            older = positions[positions.index(here) + 1 :] if here in positions else []
                            positions = [here, *older]
                        if "gap" in own or (stands and "reason" in stands):
                            missing()
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
        except (OSError, InvalidHandshake):
            pass
        if code in FINAL:
            return code
        at_once = code == 1012 and attempts == 0  # the server spreads these over its drain
        await asyncio.sleep(0 if at_once else random.uniform(0, min(30, 2**attempts)))
        attempts += 1
