"""The suite of `centrifuge-go`, as its module has it, against a server that takes tokens from queries: its clients
have none, and get one there."""

import json
import re
import subprocess
import sys

from check import token
from suite import Suite, of_anybody, websocket_url

ours = f"{websocket_url(of_anybody())}?token={token('suite')}"
suite = Suite(
    "centrifuge-go",
    [
        ("ws://localhost:8000/connection/websocket?", f"{ours}&"),
        ("ws://localhost:8000/connection/websocket", ours),
    ],
    "*_test.go",
)


def names():
    """Each test of the files that need a server."""
    files = [suite.folder / name for name in ("client_test.go", "getstate_test.go")]
    return [name for file in files for name in re.findall(r"^func (Test\w+)", file.read_text(), re.MULTILINE)]


selected = suite.selected(names())
command = ["go", "test", "-json", "-count=1", "-timeout=200s", "-run", f"^({'|'.join(selected)})$", "."]
running = subprocess.Popen(command, cwd=suite.folder, stdout=subprocess.PIPE, text=True)
outputs, passed = {}, set()
for line in running.stdout:
    event = json.loads(line) if line.startswith("{") else {"Action": "output", "Output": line}
    test = event.get("Test")
    if event["Action"] in ("output", "build-output"):
        outputs.setdefault(test, []).append(event["Output"])
    elif event["Action"] == "pass" and test in selected:
        passed.add(test)
        print(f"ok {test}")
    elif event["Action"] == "fail" and test in selected:
        print(f"FAILED {test}\n{''.join(outputs.get(test, []))}")
status = running.wait()
missing = set(selected) - passed
if status != 0 or missing:
    print(f"exit status {status}, not passed: {sorted(missing)}\n{''.join(outputs.get(None, []))}")
    sys.exit(1)
