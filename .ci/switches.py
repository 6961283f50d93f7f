"""A copy of the tree in which changes of the core stand behind switches, for .ci/slips and .ci/mutants.

One build serves all changes: which of them is on is said by the environment of each run. The tree itself has no switch.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent


def shard(text):
    """Which of how many parts, of a command line."""
    part, parts = (int(number) for number in text.split("/"))
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError("I/N, I from 1 to N")
    return part, parts


def copy_in(work):
    return work / "tree"


def end_of_function(text, begin):
    """Where its body ends: a pattern among its arguments may have braces as well."""
    return body_of_function(text, begin)[1] + 1


def body_of_function(text, begin):
    """What is between the braces of a function."""
    depth, body = 0, None
    for at in range(begin, len(text)):
        if body is None and depth == 0 and text[at] == "{":
            body = at + 1
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(text[at], 0)
        if body is not None and depth == 0:
            return body, at
    raise LookupError("a function without an end")


def write_copy(work, edited):
    """Copies the tree, with these texts in place of its own. Files that are as they were keep their time, so that little
    is compiled."""
    copy_of_all = copy_in(work)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=TREE, check=True, capture_output=True, text=True
    )
    names = {name for name in listed.stdout.splitlines() if (TREE / name).is_file()}
    for old in copy_of_all.rglob("*") if copy_of_all.exists() else []:
        if old.is_file() and str(old.relative_to(copy_of_all)) not in names:
            old.unlink()
    for name in names:
        content = edited[name].encode() if name in edited else (TREE / name).read_bytes()
        copy = copy_of_all / name
        if copy.exists() and copy.read_bytes() == content:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        shutil.copymode(TREE / name, copy)


def environment(work, settings):
    """What the copy is compiled with: soon, and with these settings."""
    fast = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    fast |= {"CARGO_PROFILE_RELEASE_INCREMENTAL": "true", "CARGO_TARGET_DIR": str(work / "build")}
    return os.environ | fast | settings


def check(work, settings={}):
    """What the compiler says of the core of the copy: whether it compiles, and messages in JSON, one a line."""
    command = ["cargo", "check", "--release", "--locked", "-p", "switchboard-core", "--features", "flaws"]
    command += ["--message-format=json"]
    said = subprocess.run(command, cwd=copy_in(work), env=environment(work, settings), stdout=subprocess.PIPE)
    messages = [json.loads(line).get("message") or {} for line in said.stdout.splitlines()]
    return said.returncode == 0, [message for message in messages if message.get("level") == "error"]


def build(work, settings={}):
    """The simulator of the copy. `None` if it does not compile; warnings are about what nobody has written so."""
    command = ["cargo", "build", "--release", "--locked", "-p", "switchboard-sim"]
    built = subprocess.run(command, cwd=copy_in(work), env=environment(work, settings), stderr=subprocess.PIPE, text=True)
    if built.returncode:
        print(built.stderr, file=sys.stderr)
        return None
    return work / "build/release/switchboard-sim"


def run(simulator, switch, command, patience):
    """What a command of the simulator prints under a switch."""
    try:
        ended = subprocess.run(
            [simulator, *command],
            env=os.environ | switch,
            timeout=patience,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return "seed 0: VIOLATED no-end"
    if ended.returncode not in (0, 1):
        return f"seed 0: VIOLATED no-abort {ended.returncode}"
    return ended.stdout
