"""The commands of docs/api.md with `curl`, to the letter: only the address of the API, the UUIDs of
connections and positions are put in. The answers must have the form of those that the document shows."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from check import PLACE, Api, check, eventually, run
from terminal import Terminal

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
NEAR, FAR = PLACE["servers"]


def blocks(language):
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)


def commands():
    """The commands of all blocks for a shell, by line; a line may be continued."""
    text = "".join(blocks("sh")).replace("\\\n", "")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def named(fragment):
    """The only command with this in it."""
    [command] = [line for line in commands() if fragment in line]
    return command


def example(first, last):
    """The only answer in the document that begins and ends with these names."""
    answers = [json.loads(block) for block in blocks("json")]
    [answer] = [answer for answer in answers if (list(answer)[0], list(answer)[-1]) == (first, last)]
    return answer


def example_of(*names):
    """The only answer in the document with just these names."""
    answers = [json.loads(block) for block in blocks("json")]
    [answer] = [answer for answer in answers if tuple(answer) == names]
    return answer


def same_form(shown, given, where="the answer"):
    """The same names and the same types, all the way down."""
    assert type(shown) is type(given), f"{where}: {given!r} is shown as {shown!r}"
    if isinstance(shown, dict):
        assert list(shown) == list(given), f"{where}: {list(given)} is shown as {list(shown)}"
        for name in shown:
            same_form(shown[name], given[name], f"{where}.{name}")
    elif isinstance(shown, list):
        assert given, f"{where} is empty"
        for each in given:
            same_form(shown[0], each, where)


class Shell:
    """A folder with what the commands of the document need, and a shell in it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        (path / "keys.txt").write_text(PLACE["key"] + "\n")
        (path / "picture.webp").write_bytes(bytes(range(256)))
        (path / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        pushes = [{"users": ["ann"], "text": "one"}, {"users": ["ann", "bob"], "text": "two"}, {"users": [""]}]
        (path / "pushes.ndjson").write_text("".join(json.dumps(push) + "\n" for push in pushes))
        opener = path / "xdg-open"
        opener.write_text('#!/bin/sh\nexec curl "$1"\n')
        opener.chmod(0o700)
        self.environment = {**os.environ, "CURL_HOME": str(path), "PATH": f"{path}:{os.environ['PATH']}"}
        self.preamble = [named("API=").replace("http://127.0.0.1:8081", FAR["api"]), named("KEY=")]
        assert FAR["api"] in self.preamble[0]

    def text(self, command):
        """What a command of the document prints. Each runs in a shell of its own, as if typed there."""
        done = subprocess.run(
            ["bash", "-euc", "\n".join([*self.preamble, command])],
            cwd=self.folder.name,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        ran.add(command)
        return done.stdout

    def json(self, fragment, **replaced):
        """The answer to the command with this in it, after putting other UUIDs or positions in."""
        command = named(fragment)
        typed = command
        for old, new in {**replaced.get("uuids", {}), **replaced.get("positions", {})}.items():
            assert old in typed, f"{old} is not in {typed}"
            typed = typed.replace(old, new)
        answer = json.loads(self.text(typed))
        ran.add(command)
        return answer


ran = set()
SHELL = Shell()
FIRST, SECOND = "0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11", "7d4c0f4e-90c9-4c61-a0b5-0d5d2f1f4c55"
POSITION = "0056a2b4c8d9e07f3a9c01"
TERMINALS = {}
RECEIPT = ("push", "degraded", "written", "queued", "failed", "terminals")


@check("terminals are there")
async def _():
    for name, server, user in [("ann", NEAR, "ann"), ("ann too", FAR, "ann"), ("bob", NEAR, "bob")]:
        TERMINALS[name] = await Terminal.open(f"{server['terminals']}?user={user}")


async def heard(*names):
    """The next frame of some terminals, which is one and the same."""
    [frame] = {await TERMINALS[name].frame() for name in names}
    return frame


@check("a push to a user")
async def _():
    receipt = SHELL.json("'Hello' $API/v1/users/ann/push")
    same_form(example_of(*RECEIPT), receipt)
    assert (receipt["written"], len(receipt["terminals"])) == (2, 2)
    assert await heard("ann", "ann too") == "Hello"


@check("a binary push to two connections, with a deadline and an id")
async def _():
    uuids = {FIRST: TERMINALS["ann"].uuid, SECOND: TERMINALS["ann too"].uuid}
    receipt = SHELL.json("@picture.webp", uuids=uuids)
    assert {each["connection"] for each in receipt["terminals"]} == set(uuids.values())
    assert receipt["written"] == 2
    assert await heard("ann", "ann too") == bytes(range(256))


@check("a push to several users")
async def _():
    receipt = SHELL.json('["ann", "bob"], "text"')
    same_form(example_of(*RECEIPT), receipt)
    assert receipt["written"] == 3
    assert await heard("ann", "ann too", "bob") == "Hello"


@check("many pushes, one a line")
async def _():
    answers = [json.loads(line) for line in SHELL.text(named("pushes.ndjson")).splitlines()]
    one, two, refused = sorted(answers, key=lambda answer: answer["line"])
    assert (one["written"], two["written"]) == (2, 3)
    assert "error" in refused, refused
    assert {await heard("ann", "ann too"), await heard("ann", "ann too")} == {"one", "two"}
    assert await heard("bob") == "two"


@check("a broadcast")
async def _():
    receipt = SHELL.json("$API/v1/broadcast")
    same_form(example_of("push", "degraded", "written", "queued", "failed", "instances"), receipt)
    assert receipt["written"] == 3
    assert await heard("ann", "ann too", "bob") == "Maintenance at noon"


@check("a user's connections, named in the path and in the body")
async def _():
    for command in ['"$KEY" $API/v1/users/ann/connections', "$API/v1/connections"]:
        listed = SHELL.json(command)
        same_form(example("degraded", "connections"), listed)
        assert {each["connection"] for each in listed["connections"]} == {
            TERMINALS["ann"].uuid,
            TERMINALS["ann too"].uuid,
        }


@check("a user joins a topic, gets what is pushed to it, and is listed")
async def _():
    joined = SHELL.json("-X PUT $API/v1/topics/news/users/ann ")
    same_form(example_of("push", "degraded", "kept", "written", "queued", "failed", "terminals"), joined)
    assert (joined["kept"], joined["written"]) == (True, 2)
    assert await heard("ann", "ann too") == '{"switchboard":{"joined":{"topic":"news"}}}'
    receipt = SHELL.json("'Hello' $API/v1/topics/news/push")
    same_form(example_of("push", "degraded", "written", "queued", "failed", "instances"), receipt)
    assert receipt["written"] == 2 and await heard("ann", "ann too") == "Hello"
    receipt = SHELL.json("?except=", uuids={FIRST: TERMINALS["ann"].uuid})
    assert receipt["written"] == 1 and await heard("ann too") == "Hello"
    receipt = SHELL.json('["news", "sport"]')
    assert receipt["written"] == 2 and await heard("ann", "ann too") == "Hello"
    receipt = SHELL.json("'Goal' ")
    same_form(example_of("push", "degraded", "logged", "written", "queued", "failed", "instances"), receipt)
    assert receipt["written"] == 2 and await heard("ann", "ann too") == "Goal"
    counted = SHELL.json("$API/v1/topics/news ")
    same_form(example_of("degraded", "count", "head", "instances"), counted)
    assert (counted["count"], counted["head"]) == (2, receipt["logged"])
    kept = SHELL.json("# its log")
    same_form(example("head", "records"), kept)
    assert [record["text"] for record in kept["records"]] == ["Goal"]
    assert SHELL.json("-X DELETE $API/v1/topics/news/log") == {"records": 1}
    members = SHELL.json("/members?limit=100")
    same_form(example_of("degraded", "count", "members", "next", "instances"), members)
    assert {each["connection"] for each in members["members"]} == {
        TERMINALS["ann"].uuid,
        TERMINALS["ann too"].uuid,
    }


@check("a user leaves a topic, and one connection joins it")
async def _():
    left = '{"switchboard":{"left":{"topic":"news"}}}'
    joined = left.replace("left", "joined")
    assert SHELL.json("-X DELETE $API/v1/topics/news/users/ann ")["written"] == 2
    assert await heard("ann", "ann too") == left
    one = SHELL.json("users/ann/connections/0b0e9f32-5f0e-4a53-8b0a-6e1c1f6f7a11   # this", uuids={FIRST: TERMINALS["ann"].uuid})
    assert (one["written"], "kept" in one) == (1, False)
    assert await heard("ann") == joined
    assert SHELL.json("$API/v1/join")["kept"] is True
    assert await heard("ann", "ann too") == joined
    assert SHELL.json("$API/v1/leave")["kept"] is True
    assert await heard("ann", "ann too") == left


@check("who is online, and where several users are connected")
async def _():
    online = SHELL.json("online=true")
    same_form(example_of("degraded", "users", "next", "instances"), online)
    assert online["users"] == ["ann", "bob"]
    connections = SHELL.json("$API/v1/users/connections")
    assert list(connections) == list(example_of("degraded", "users"))
    assert {each["user"]: len(each["connections"]) for each in connections["users"]} == {"ann": 2, "bob": 1}


@check("a log is read from its beginning, from a position, and deleted")
async def _():
    for text in ("one", "two"):
        await Api(FAR).accepted("POST", "/v1/users/ann/push?durable=true", text)
        assert await heard("ann", "ann too") == text
    kept = SHELL.json("# what is kept")
    same_form(example("head", "records"), kept)
    assert [record["text"] for record in kept["records"]] == ["one", "two"]
    rest = SHELL.json("# what came after that", positions={POSITION: kept["records"][0]["position"]})
    assert rest["records"] == kept["records"][1:]
    assert SHELL.json("-X DELETE $API/v1/users/ann/log ") == {"records": 2}


@check("one connection is ended, then all of the user")
async def _():
    receipt = SHELL.json(f"-X DELETE $API/v1/users/ann/connections/{FIRST}", uuids={FIRST: TERMINALS["ann"].uuid})
    same_form(example_of(*RECEIPT), receipt)
    assert await TERMINALS["ann"].ending() == (4001, "kicked")
    again = await Terminal.open(f"{NEAR['terminals']}?user=ann")
    receipt = SHELL.json("$API/v1/kick", uuids={FIRST: again.uuid})
    same_form(example_of(*RECEIPT), receipt)
    assert await again.ending() == (4001, "kicked")

    async def alone():
        return len(SHELL.json('"$KEY" $API/v1/users/ann/connections')["connections"]) == 1

    await eventually("the other is left", alone)
    receipt = SHELL.json("# all of a user")
    assert [each["connection"] for each in receipt["terminals"]] == [TERMINALS["ann too"].uuid]
    assert await TERMINALS["ann too"].ending() == (4001, "kicked")


@check("the cluster")
async def _():
    listed = SHELL.json("$API/v1/instances")
    same_form(example("instances", "instances"), listed)
    assert [each["state"] for each in listed["instances"]] == ["up", "up"]


@check("health, metrics and the status page")
async def _():
    assert SHELL.text(named("/health/live"))
    assert json.loads(SHELL.text(named("/health/ready")))["ready"] is True
    metrics = SHELL.text(named("/metrics"))
    text = DOCUMENT.read_text()
    for name in set(re.findall(r"`(switchboard_[a-z_]+)", text)):
        assert re.search(rf"^(# TYPE )?{name.removesuffix('_total')}", metrics, re.MULTILINE), name
    assert metrics.startswith("# HELP ") and "# EOF" not in metrics, "the text format of Prometheus"
    assert "<title>Switchboard</title>" in SHELL.text(named("xdg-open"))


@check("errors: no key, a misspelt parameter, a body that is too large")
async def _():
    async def answer(command):
        shown = SHELL.text(f"{command} || true")
        return json.loads(shown)["error"]["code"]

    assert await answer("curl $API/v1/instances") == "no_key"
    assert await answer('curl -H "$KEY" -d x "$API/v1/users/ann/push?dedline=1s"') == "bad_query"
    large = f"head -c {PLACE['push_bytes'] + 1} /dev/zero"
    push = 'curl -H "$KEY" --data-binary @- $API/v1/users/ann/push'
    assert await answer(f"{large} | {push}") == "too_large"
    assert await answer(f"{large} | {push} -H Expect:") == "too_large"


@check("no command of the document was left out")
async def _():
    left = [command for command in commands() if command not in ran and not re.match("(API|KEY)=", command)]
    assert not left, left


@check("what was pushed to nobody waits for nobody")
async def _():
    async def ended():
        return not json.loads(SHELL.text('curl -H "$KEY" $API/v1/users/ann/connections'))["connections"]

    await eventually("ann is offline", ended)
    receipt = SHELL.json("'Hello' $API/v1/users/ann/push")
    assert receipt["terminals"] == [] and receipt["failed"] == 0


run()
