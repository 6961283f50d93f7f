#!/usr/bin/env bash
# Python's `websockets`, asyncio client, default settings. The program does something else for a while and
# does not call recv(); the server pings.
#
# A good guess: the library answers pings by itself, as it says, whatever the program does.
# What happens: when 18 messages wait for the program (`max_queue` is 16), the library stops reading the
# socket, and what stands behind those messages is not answered: pings too. The server takes a client for
# dead whose event loop runs and whose network is well. With a larger `max_queue`, or None, they are answered.
# Seen with websockets 17.4 on Python 3.11.
set -euo pipefail
command -v python3 >/dev/null || { echo "needed: python3" >&2; exit 1; }
python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "needed: Python's venv and ensurepip" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
timeout 120 python3 -m venv "$work/python"
timeout 300 "$work/python/bin/pip" install --quiet websockets==17.4

cat >"$work/run.py" <<'PYTHON'
import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def answered_until(**options):
    """After how many messages that nobody has read a ping of the server is not answered any more."""
    found = asyncio.get_running_loop().create_future()

    async def handler(socket):
        for sent in range(1, 41):
            await socket.send(f"message {sent}")
            try:
                await asyncio.wait_for(await socket.ping(), 2)
            except asyncio.TimeoutError:
                return found.set_result(sent)
        found.set_result(None)

    async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", ping_interval=None, **options):
            return await asyncio.wait_for(found, 30)


async def main():
    by_default, unlimited = await answered_until(), await answered_until(max_queue=None)
    print(f"default:        no ping is answered from {by_default} unread messages on")
    print(f"max_queue=None: no ping is answered from {unlimited} unread messages on")
    assert (by_default, unlimited) == (18, None), "this is not what was seen"


asyncio.run(main())
PYTHON
timeout 100 "$work/python/bin/python" "$work/run.py"
