"""Regular expressions are compiled when they are first used."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from aiohttp_cache_di.lazy import compiled_later


def test_one_does_what_the_compiled_pattern_does() -> None:
    pattern = compiled_later(r"(\d+)([a-z])", re.IGNORECASE)
    found = pattern.fullmatch("12S")
    assert found is not None
    assert found.groups() == ("12", "S")
    assert pattern.sub("-", "1a 2b") == "- -"
    assert [match[1] for match in pattern.finditer("1a 2b")] == ["1", "2"]
    assert pattern.pattern == r"(\d+)([a-z])"


def test_bytes_are_searched_as_bytes() -> None:
    assert compiled_later(rb"[\r\n]").search(b"a\nb") is not None


def test_what_is_no_pattern_shows_at_its_first_use() -> None:
    pattern = compiled_later("(")
    with pytest.raises(re.error):
        pattern.match("")


def test_importing_the_package_compiles_next_to_nothing() -> None:
    code = (
        "import re, warnings, aiohttp, msgspec\n"
        "warnings.filterwarnings = lambda *arguments, **named: None\n"  # which compiles what it is given
        "compiled, compile_ = [], re.compile\n"
        "re.compile = lambda *arguments: compiled.append(arguments[0]) or compile_(*arguments)\n"
        "import aiohttp_cache_di\n"
        "print(compiled)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.strip() == "[]"
