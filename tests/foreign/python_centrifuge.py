"""The package `centrifuge-python` from PyPI, in JSON and in Protobuf, at two servers that take tokens."""

import asyncio
import json
import os
import signal

from centrifuge import Client, ClientEventHandler, ReplyError, StreamPosition, SubscriptionEventHandler

from check import PATIENCE, PLACE, Api, check, eventually, push_logged, restart, run, token

NEAR, FAR = PLACE["servers"]
FAR_API = Api(FAR)
ENCODINGS = {"JSON": False, "Protobuf": True}


async def certain(what, ask):
    """The answer of a question that is refused while it is in doubt who is there, as after the start of a server."""

    async def answer():
        try:
            return await ask()
        except ReplyError as error:
            assert error.code == 100, error
            return None

    return await eventually(what, answer)


class Told(ClientEventHandler):
    """A client of a user, and all that it has told of."""

    def __init__(self, user, protobuf, get_token=None):
        self.events, self.publications, self.subscribed, self.tokens = [], [], [], 0

        async def counted():
            self.tokens += 1
            return get_token() if get_token else token(user)

        self.protobuf = protobuf
        self.client = Client(
            NEAR["terminals"].replace("/connect", "/connection/websocket"),
            events=self,
            get_token=counted,
            use_protobuf=protobuf,
            min_reconnect_delay=0.1,
            max_reconnect_delay=0.2,
        )

    async def on_connecting(self, ctx):
        self.events.append(("connecting", ctx.code, ctx.reason))

    async def on_connected(self, ctx):
        self.events.append(("connected", ctx.client))

    async def on_disconnected(self, ctx):
        self.events.append(("disconnected", ctx.code, ctx.reason))

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_publication(self, ctx):
        self.publications.append(ctx)

    def of(self, event):
        return [each for each in self.events if each[0] == event]

    def value(self, data):
        """Protobuf has bytes where JSON has JSON."""
        return json.loads(data) if self.protobuf else data

    def values(self):
        return [self.value(each.pub.data) for each in self.publications]

    async def has(self, *values):
        async def are():
            return len(self.publications) >= len(values)

        await eventually(f"the publications {values}", are)
        assert self.values() == list(values), self.values()

    async def connected(self, times=1):
        async def is_connected():
            return len(self.of("connected")) >= times

        await eventually("it is connected", is_connected)
        return self.of("connected")[-1][1]

    async def ended(self):
        async def is_disconnected():
            return self.of("disconnected")

        await eventually("it is told its end", is_disconnected)
        return self.of("disconnected")[0][1:]


async def opened(user, protobuf, get_token=None):
    """A client that is connected."""
    told = Told(user, protobuf, get_token)
    await told.client.connect()
    await told.connected()
    return told


def own(told, user):
    """How it was subscribed to the channel of its user, each time."""
    return [(each.was_recovering, each.recovered) for each in told.subscribed if each.channel == f"#{user}"]


async def refused(promise):
    try:
        await asyncio.wait_for(promise, PATIENCE)
    except ReplyError as error:
        return error.code
    raise AssertionError("it was not refused")


CHECKS = []


def in_both(name):
    """Marks a check that is made in both encodings."""

    def note(function):
        CHECKS.append((name, function))
        return function

    return note


@in_both("a client gets what is pushed to its user at the other server")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    [listed] = await FAR_API.connections(user)
    assert listed["connection"] == await told.connected()
    await FAR_API.push_to_one(user, '{"text":"hello",\n "number":5}')
    await told.has({"text": "hello", "number": 5})
    assert told.publications[0].channel == f"#{user}"
    await told.client.disconnect()


@in_both("what was pushed while its server was dead comes once and in order")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    await push_logged(user, "1")
    await told.has(1)
    os.kill(PLACE["servers"][0]["pid"], signal.SIGKILL)
    await push_logged(user, "2")
    await push_logged(user, "3")
    await restart(0)
    await told.connected(2)
    await push_logged(user, "4")
    await told.has(1, 2, 3, 4)
    assert own(told, user) == [(False, False), (True, True)], told.subscribed
    await told.client.disconnect()


@in_both("a client whose position is lost is told so")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    await push_logged(user, "1")
    await told.has(1)
    os.kill(PLACE["servers"][0]["pid"], signal.SIGKILL)
    await FAR_API.accepted("DELETE", f"/v1/users/{user}/log")
    await push_logged(user, "2")
    await restart(0)
    await told.connected(2)
    await told.has(1, 2)
    assert own(told, user) == [(False, False), (True, False)], told.subscribed
    await told.client.disconnect()


@in_both("a client renews its token and stays")
async def _(user, protobuf):
    told = await opened(user, protobuf, lambda: token(user, -26))  # Of the leeway of 30 s four are left.

    async def asked():
        return told.tokens >= 3

    await eventually("it is asked for tokens", asked)
    await FAR_API.push_to_one(user, '"here"')
    await told.has("here")
    assert len(told.of("connecting")) == 1, told.events
    await told.client.disconnect()


@in_both("an expired token is answered so that the client gets a new one")
async def _(user, protobuf):
    tokens = [token(user), token(user, -60)]
    told = await opened(user, protobuf, tokens.pop)
    assert told.tokens == 2
    await told.client.disconnect()


@in_both("a token that does not count ends it for good")
async def _(user, protobuf):
    told = Told(user, protobuf, lambda: token(user) + "x")
    await told.client.connect()
    assert await told.ended() == (3500, "invalid token"), told.events


@in_both("a client that is kicked stays away")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    await FAR_API.kick(user, await told.connected())
    assert await told.ended() == (3503, "force disconnect"), told.events


@in_both("presence and history of the user's channel")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    for number in "123":
        await push_logged(user, number)
    await told.has(1, 2, 3)
    client, channel = told.client, f"#{user}"
    [info] = (await certain("the presence", lambda: client.presence(channel))).clients.values()
    assert (info.client, info.user) == (await told.connected(), user)
    stats = await certain("the statistics", lambda: client.presence_stats(channel))
    assert (stats.num_clients, stats.num_users) == (1, 1)

    async def history(**options):
        return [told.value(each.data) for each in (await client.history(channel, **options)).publications]

    page = await client.history(channel, limit=0)
    first, last = (told.publications[index].pub.offset for index in (0, 2))
    assert page.offset == last
    assert await history(limit=-1) == [1, 2, 3]
    assert await history(limit=2, reverse=True) == [3, 2]
    assert await history(limit=10, since=StreamPosition(first, page.epoch)) == [2, 3]
    assert await refused(client.history(channel, limit=10, since=StreamPosition(last + 1, page.epoch))) == 112
    data = json.dumps({}).encode() if protobuf else {}
    assert await refused(client.rpc("method", data)) == 108
    assert await refused(client.publish(channel, data)) == 103
    await client.disconnect()


@in_both("what was pushed to a topic while its server was dead comes once and in order")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    topic = f"room:{user}"
    got, stands = [], []

    class Events(SubscriptionEventHandler):
        async def on_publication(self, ctx):
            got.append(told.value(ctx.pub.data))

        async def on_subscribed(self, ctx):
            stands.append((ctx.was_recovering, ctx.recovered))

    async def push(number):
        path = f"/v1/topics/{topic}/push?durable=true&deadline=500ms"
        await FAR_API.accepted("POST", path, str(number), {"Content-Type": "text/plain"})

    async def are_there():
        return len(got) == len(expected)

    room = told.client.new_subscription(topic, events=Events())
    await room.subscribe()
    await asyncio.wait_for(room.ready(), PATIENCE)
    await asyncio.wait_for(room.publish(data=b"1" if protobuf else 1), PATIENCE)
    expected = [1]
    await eventually("what it has published", are_there)
    os.kill(PLACE["servers"][0]["pid"], signal.SIGKILL)
    await push(2)
    await push(3)
    await restart(0)
    await told.connected(2)
    await push(4)
    expected = [1, 2, 3, 4]
    await eventually("what was pushed meanwhile", are_there)
    assert got == expected, got
    assert stands == [(False, False), (True, True)], stands
    page = await asyncio.wait_for(room.history(limit=2, reverse=True), PATIENCE)
    assert [told.value(each.data) for each in page.publications] == [4, 3]
    await told.client.disconnect()


@in_both("a client subscribes itself to a topic that its token allows")
async def _(user, protobuf):
    allowed = f"room-{user}"
    told = await opened(user, protobuf, lambda: token(user, topics=[f"{allowed}*"]))
    got, ended = [], []

    class Events(SubscriptionEventHandler):
        async def on_publication(self, ctx):
            got.append(told.value(ctx.pub.data))

        async def on_unsubscribed(self, ctx):
            ended.append(ctx.code)

    room = told.client.new_subscription(allowed, events=Events())
    await room.subscribe()
    await asyncio.wait_for(room.ready(), PATIENCE)
    text = {"Content-Type": "text/plain"}
    await FAR_API.accepted("POST", f"/v1/topics/{allowed}/push", '"to the topic"', text)

    async def has_come():
        return got == ["to the topic"]

    await eventually("the publication", has_come)
    other = told.client.new_subscription("secret", events=Events())
    await other.subscribe()

    async def is_refused():
        return ended == [103]

    await eventually("the refusal", is_refused)
    # The room is left, and nothing of it comes.
    await room.unsubscribe()
    await FAR_API.accepted("POST", f"/v1/topics/{allowed}/push", '"late"', text)
    await FAR_API.push_to_one(user, '"still here"')
    await told.has("still here")
    assert got == ["to the topic"]
    await told.client.disconnect()


@in_both("a client that is idle is pinged, and answers")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    await asyncio.sleep(7)  # Longer than pings and patience together.
    await FAR_API.push_to_one(user, '"still"')
    await told.has("still")
    assert len(told.of("connecting")) == 1, told.events
    await told.client.disconnect()


@in_both("a client whose server is drained comes back")
async def _(user, protobuf):
    told = await opened(user, protobuf)
    await push_logged(user, "1")
    await told.has(1)
    os.kill(PLACE["servers"][0]["pid"], signal.SIGTERM)

    async def is_told():
        return len(told.of("connecting")) > 1

    await eventually("it is told of the drain", is_told)
    assert told.of("connecting")[1][1] == 3001, told.events
    await push_logged(user, "2")
    await restart(0)
    await told.connected(2)
    await told.has(1, 2)
    await told.client.disconnect()


for encoding, protobuf in ENCODINGS.items():
    for number, (name, function) in enumerate(CHECKS):

        def bound(function=function, user=f"{encoding}-{number}", protobuf=protobuf):
            return function(user, protobuf)

        check(f"{encoding}: {name}")(bound)

run()
