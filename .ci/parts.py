"""Reads the parts of a crate, for .ci/arrows and .ci/crossings: the modules that stand in its lib.rs.

Only production code counts: modules and items behind `#[cfg(test)]` are left out.
"""

import re

TYPE = re.compile(r"^ *(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|union) (\w+)|^(?:pub(?:\([^)]*\))? )?type (\w+)", re.M)


def production(text):
    """The text without comments, strings and what is compiled for tests alone."""
    text = re.sub(r'r#".*?"#|"(?:\\.|[^"\\])*"', '""', text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    kept, at = [], 0
    for test in re.finditer(r"#\[cfg\(test\)\]", text):
        if test.start() < at:
            continue
        kept.append(text[at : test.start()])
        at = end_of_item(text, test.end())
    kept.append(text[at:])
    return "".join(kept)


def end_of_item(text, at):
    """Where the item that begins here ends: behind its `;`, or the brace that closes it."""
    depth = 0
    for place in range(at, len(text)):
        if text[place] in "{([":
            depth += 1
        elif text[place] in "})]":
            depth -= 1
            if depth == 0 and text[place] == "}":
                return place + 1
        elif text[place] == ";" and depth == 0:
            return place + 1
    return len(text)


def read(folder):
    """Files by part, for the parts that lib.rs has outside of tests; and what lib.rs calls otherwise."""
    lib = production((folder / "src/lib.rs").read_text())
    parts = re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?mod (\w+);", lib, re.M)
    names = {}
    for part, used in re.findall(r"pub use (\w+)::(.*?);", lib, re.S):
        for name in re.findall(r"\b\w+\b(?!::)", used):
            names[name] = part
    files = {}
    for part in parts:
        alone, inside = folder / f"src/{part}.rs", folder / "src" / part
        files[part] = [path for path in [alone] if path.exists()] + sorted(inside.rglob("*.rs"))
    return files, names


def allowed(folder, files):
    arrows, free, private, shared, errors = {}, set(), set(), set(), []
    for line in (folder / "arrows.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        part, _, others = line.partition(":")
        others = others.split()
        if part == "names":
            shared.update(others)
            continue
        errors += [f"arrows.txt names {name}, which is no part" for name in others if name not in files and name != "*"]
        if part == "free":
            free.update(others)
        elif part == "private":
            private.update(others)
        elif part in files:
            arrows[part] = set(files) if others == ["*"] else set(others)
            arrows[part].discard(part)
        else:
            errors.append(f"arrows.txt names {part}, which is no part")
    errors += [f"arrows.txt does not say what {part} may use" for part in files if part not in arrows and part not in free]
    return arrows, free, private, shared, errors
