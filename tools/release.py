"""Check a release before it is published, and print its notes: `make dist` and the release workflow run this.

The version is defined in `aiohttp_cache_di/__init__.py` alone. The tag has to be `v` and the version, and the changelog
needs a section for it.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


def version_of(source: str) -> str:
    """The version in *source*, the text of `aiohttp_cache_di/__init__.py`.

    Raises:
        ValueError: *source* does not define a version.
    """
    found = re.search(r'^__version__(?:: Final)? = "([^"]+)"', source, re.MULTILINE)
    if found is None:
        raise ValueError('there is no line __version__ = "…"')
    return found[1]


def notes_of(changelog: str, version: str) -> str:
    """The section of *version* in the changelog: the text below `## version`, which may be followed by a date.

    Raises:
        ValueError: there is no such section, or it is empty.
    """
    found = re.search(rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md says nothing of {version}: it needs a section '## {version}'")
    return found[1].strip()


HEADINGS: Final = ("Breaking", "Changed", "Deprecated", "Added", "Fixed", "Security")
"""The headings of a release in the changelog, in this order; each is optional."""


def refuse_order(notes: str) -> None:
    """Raise ValueError if *notes* have a heading that is not in `HEADINGS`, or have them in another order."""
    found = re.findall(r"^### (.*)$", notes, re.MULTILINE)
    if found != [heading for heading in HEADINGS if heading in found]:
        raise ValueError(f"CHANGELOG.md has the headings {', '.join(found)}; use {', '.join(HEADINGS)}, in this order")


def check(tag: str, source: str, changelog: str) -> str:
    """The notes of the release that *tag* names.

    Raises:
        ValueError: the tag does not match the version, or the changelog has no section for it, or the section has
            wrong headings.
    """
    version = version_of(source)
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag!r}, but the version is {version!r}: it takes the tag 'v{version}'")
    notes = notes_of(changelog, version)
    refuse_order(notes)
    return notes


def main() -> int:
    """Print the notes of the release; if a check fails, print why and return 1."""
    parser = argparse.ArgumentParser(description="Check that a tag names this version, and print its notes.")
    parser.add_argument("--tag", required=True, help="the tag of the release, v1.2.3")
    asked = parser.parse_args()
    source = (ROOT / "aiohttp_cache_di" / "__init__.py").read_text(encoding="utf-8")
    try:
        notes = check(asked.tag, source, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    except ValueError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    sys.stdout.write(f"{notes}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
