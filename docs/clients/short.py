"""A log followed in 40 lines: each record once and in its order, over as many connections as it takes
(../protocol.md#the-log). follow.py does more: plain pushes, tokens, and a drain that is told from a failure."""
import asyncio, contextlib, json, random, websockets
from urllib.parse import urlencode

async def follow(url, record, missing, after=()):
    """`record(data, id)` gets what is pushed durably. When `missing()` is called something is lost: ask your server."""
    positions, ids, attempts, code = list(after), {}, 0, None  # positions: of the last records, the newest first
    while code not in (1002, 1007, 1009, 4001):  # nobody comes back after these by itself
        query, due = urlencode([("after", position) for position in positions] or [("log", "1")]), None
        try:
            async with websockets.connect(f"{url}{'&' if '?' in url else '?'}{query}", max_size=None) as socket:
                while True:
                    try:
                        async with asyncio.timeout_at(due):  # when records are to be confirmed
                            data = await socket.recv()
                    except TimeoutError:
                        due = await socket.send(json.dumps({"switchboard": {"ack": positions[0]}}))
                        continue
                    own = {}  # what is not Switchboard's own is a plain push, as is all that is binary
                    with contextlib.suppress(ValueError, TypeError, KeyError):
                        own = dict(json.loads("" + data)["switchboard"])
                    attempts = 0 if "hello" in own else attempts
                    stands = own.get("hello", own).get("log") or own.get("gap") or own.get("back")
                    if stands:  # it goes on here: what is newer is not in the log
                        here = stands["position"]
                        positions = [here, *positions[[*positions, here].index(here) + 1 :]]
                    if "gap" in own or (stands and "reason" in stands):
                        missing()
                    if message := own.get("message"):  # it announces that the next frame is a record
                        data = await socket.recv()
                        if message["id"] not in ids:  # after a gap and after `back` it may come again
                            record(data, message["id"])
                        ids = dict.fromkeys([*ids, message["id"]][-1000:])  # more than a log keeps by default
                        positions = [message["position"], *positions][:8]
                        due = due or asyncio.get_running_loop().time() + 1
        except (websockets.WebSocketException, OSError) as error:
            code = error.rcvd and error.rcvd.code if isinstance(error, websockets.ConnectionClosed) else None
        await asyncio.sleep(random.uniform(0, min(30, 2**attempts)))
        attempts += 1
