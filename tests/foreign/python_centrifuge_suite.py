"""The suite of `centrifuge-python`, as its source distribution on PyPI has it, against a server that takes tokens.
Its own tokens have no end and are signed with a short secret; those that it is given are of the same users and channels."""

import importlib
import os
import signal
import sys
import unittest

from check import PLACE, token
from suite import Suite, host

# A test that waits for ever is ended after this many seconds.
ENDS_WITHIN = 60

suite = Suite("centrifuge-python", [("localhost:8000", host(PLACE["tokens"]))], "tests/*.py")
sys.path.insert(0, str(suite.folder))
os.chdir(suite.folder)
module = importlib.import_module("tests.test_client")
module.generate_jwt = lambda user, channel="": token(user, **({"channel": channel} if channel else {}))
module.cf_logger.setLevel("ERROR")
module.setUpModule()


def late(*_):
    raise TimeoutError(f"it did not end within {ENDS_WITHIN} s")


signal.signal(signal.SIGALRM, late)


def names():
    """`Class.method` of each test, in the order of the file."""
    cases = [case for case in vars(module).values() if isinstance(case, type) and issubclass(case, unittest.TestCase)]
    return [f"{case.__name__}.{name}" for case in cases for name in unittest.defaultTestLoader.getTestCaseNames(case)]


failed = False
for name in suite.selected(names()):
    result = unittest.TestResult()
    signal.alarm(ENDS_WITHIN)
    unittest.defaultTestLoader.loadTestsFromName(name, module).run(result)
    signal.alarm(0)
    if result.testsRun == 1 and result.wasSuccessful() and not result.skipped:
        print(f"ok {name}")
    else:
        failed = True
        print(f"FAILED {name}")
        for _, trace in result.failures + result.errors + result.skipped:
            print(trace)
sys.exit(1 if failed else 0)
