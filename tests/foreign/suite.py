"""What runs the suites of other clients, which are fetched and never kept here: a copy of one that is about our
server, and the names of the tests that are left out, each with its reason."""

import fnmatch
import os
import shutil
import tempfile
from pathlib import Path

from check import PLACE


class Suite:
    """A copy of a suite of the folder `FOREIGN_SUITES`, in a temporary folder."""

    def __init__(self, name, replaced, pattern):
        """`replaced` is what stands in its files for what they say, in those of `pattern`."""
        self.name = name
        self._temporary = tempfile.TemporaryDirectory(prefix="switchboard-suite-")
        self.folder = Path(self._temporary.name) / name
        shutil.copytree(Path(os.environ["FOREIGN_SUITES"]) / name, self.folder)
        for file in self.folder.glob(pattern):
            text = file.read_text()
            for theirs, ours in replaced:
                text = text.replace(theirs, ours)
            file.chmod(0o644)
            file.write_text(text)

    def selected(self, tests):
        """Those of its tests that are not left out. One that is, and is not there, is an error."""
        file = Path(__file__).parent / "suites" / f"{self.name}.skipped"
        lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        patterns = [line.split(": ", 1)[0] for line in lines]
        for pattern in patterns:
            assert fnmatch.filter(tests, pattern), f"{self.name} has no test {pattern}, which is to be left out"
        selected = [test for test in tests if not any(fnmatch.fnmatchcase(test, each) for each in patterns)]
        print(f"{len(selected)} of {len(tests)} tests of {self.name} are run")
        return selected


def websocket_url(server):
    return server["terminals"].replace("/connect", "/connection/websocket")


def host(server):
    return server["terminals"].split("/")[2]


def of_anybody():
    """One where anybody who has a token may subscribe and publish."""
    return PLACE["servers"][0]
