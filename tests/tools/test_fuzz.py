from __future__ import annotations

import importlib
import importlib.util

import pytest

from tools import fuzz


@pytest.mark.parametrize(("module", "name"), fuzz.TARGETS)
def test_each_target_takes_bytes(module: str, name: str) -> None:
    fuzzer = getattr(importlib.import_module(module), name)
    for data in (b"", b"\0" * 100, bytes(range(256))):
        fuzzer.hypothesis.fuzz_one_input(data)


def test_without_atheris_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def find_spec(name: str) -> None:
        """Find nothing."""

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert fuzz.main() == 0
    assert "there is no atheris here" in capsys.readouterr().out
