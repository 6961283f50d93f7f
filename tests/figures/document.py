"""The places in docs/performance.md that are written by .ci/figures."""

import sys


def between(text, name, section):
    """The text with a section between its two markers."""
    begin, end = f"<!-- .ci/figures: {name} -->\n", f"<!-- .ci/figures: end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"figures: the document has no place for {name}: {begin}{end}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{section}\n\n{end}{rest.split(end)[1]}"
