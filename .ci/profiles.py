"""Servers built for what they do: by a profile of what they execute under load (profile-guided optimisation)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target")).resolve()
WORK = TARGET / "profiled"
BUILDS = {
    "tokio": ["-p", "switchboard-tokio", "--bin", "switchboard"],
    "smol": ["-p", "switchboard-smol", "--example", "server"],
}
MADE = {"tokio": "switchboard", "smol": "examples/server"}
# What is executed while it is counted, each with terminals that connect first: pushes as fast as they go, one by one,
# at a rate, and to everyone; and terminals that are pinged.
LOADS = [
    ["--terminals", "1000", "--pushes", "20000"],
    ["--terminals", "1000", "--pushes", "5000", "--publishers", "1"],
    ["--terminals", "1000", "--pushes", "5000", "--rate", "1000"],
    ["--terminals", "1000", "--pushes", "50", "--publishers", "1", "--broadcast"],
    ["--terminals", "1000", "--pushes", "10", "--publishers", "1", "--idle", "40"],
]


def build(adapter):
    """The folder with the server of an adapter, built by its profile."""
    tool = profdata()
    counts = WORK / "counts" / adapter
    shutil.rmtree(counts, ignore_errors=True)
    counts.mkdir(parents=True)
    print("profiled: a build that counts what it executes", flush=True)
    counting = cargo(adapter, "counting", f"-Cprofile-generate={counts}")
    generator = ["cargo", "build", "--release", "--locked", "-p", "switchboard-tests", "--bin", "switchboard-load"]
    subprocess.run(generator, cwd=TREE, check=True)
    for number, load in enumerate(LOADS, 1):
        print(f"profiled: load {number} of {len(LOADS)}: {' '.join(load)}", flush=True)
        environment = dict(os.environ, SERVERS=str(counting), ADAPTERS=adapter, NO_BUILD="1")
        run = subprocess.run(
            [TREE / ".ci/load", *load], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if run.returncode:
            sys.exit(run.stdout)
    written = list(counts.glob("*.profraw"))
    if not written:
        sys.exit(f"profiled: the servers have counted nothing in {counts}")
    profile = counts / "profile.profdata"
    subprocess.run([tool, "merge", "-o", profile, *written], check=True)
    print("profiled: a build for what was counted", flush=True)
    # Cargo does not know that the profile is another one.
    shutil.rmtree(WORK / "servers", ignore_errors=True)
    return cargo(adapter, "servers", f"-Cprofile-use={profile}")


def cargo(adapter, name, flag):
    """Builds the server of an adapter with a flag more. A target that is named keeps it from what only the build
    executes."""
    flags = "\x1f".join([*os.environ.get("RUSTFLAGS", "").split(), flag])
    target = WORK / name
    command = ["cargo", "build", "--release", "--locked", "--target", host(), "--target-dir", target, *BUILDS[adapter]]
    subprocess.run(command, cwd=TREE, env=dict(os.environ, CARGO_ENCODED_RUSTFLAGS=flags), check=True)
    return target / host() / "release"


def host():
    return re.search(r"^host: (.+)$", rustc("-vV"), re.M)[1]


def rustc(*arguments):
    return subprocess.run(["rustc", *arguments], cwd=TREE, check=True, stdout=subprocess.PIPE, text=True).stdout


def profdata():
    """What merges counts. One of another version than the compiler may not understand them."""
    version = re.search(r"^LLVM version: (\d+)", rustc("-vV"), re.M)[1]
    installed = Path(rustc("--print", "sysroot").strip()) / "lib/rustlib" / host() / "bin/llvm-profdata"
    for tool in [installed, f"llvm-profdata-{version}", "llvm-profdata"]:
        found = shutil.which(tool)
        if found and f"LLVM version {version}." in said_by(found):
            return found
    sys.exit(
        f"profiled: llvm-profdata {version} is needed, as this rustc is built with LLVM {version}: "
        f"`rustup component add llvm-tools`, or the package llvm-{version}"
    )


def said_by(tool):
    return subprocess.run([tool, "--version"], stdout=subprocess.PIPE, text=True).stdout
