from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tools import audit

SOUND: dict[str, Any] = {"name": "yarl", "version": "1.0", "vulns": []}
HOLED: dict[str, Any] = {"name": "aiohttp", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"]}]}
LOST: dict[str, Any] = {"name": "idna", "version": "3", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}
UNKNOWN: dict[str, Any] = {"name": "mine", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "lines", "code"),
    [
        ([SOUND], ["no vulnerability is known of 1 packages"], 0),
        ([SOUND, HOLED, LOST], ["aiohttp 3.0: PYSEC-1, mended in 3.1", "idna 3: PYSEC-2, mended in none"], 1),
        (
            [SOUND, UNKNOWN],
            [
                "no vulnerability is known of 1 packages",
                "not asked: the index knows nothing of 1 packages, mine among them",
            ],
            0,
        ),
        ([UNKNOWN], ["not asked: the index knows nothing of 1 packages, mine among them"], 0),
    ],
)
def test_what_is_found_is_an_error_and_what_is_not_asked_is_said(
    packages: list[Any], lines: list[str], code: int
) -> None:
    assert audit.verdict({"dependencies": packages}) == (lines, code)


@pytest.mark.parametrize(
    ("install", "ask", "line", "code"),
    [
        ((1, "", "ERROR: no index"), (0, "", ""), "not asked: pip-audit cannot be installed: ERROR: no index", 0),
        ((0, "", ""), (1, "", "Traceback\nConnectionError: refused\n"), "not asked: ConnectionError: refused", 0),
        ((0, "", ""), None, "not asked: no answer within 90 seconds", 0),
        ((0, "", ""), (0, "[]", ""), "not asked: pip-audit says nothing that can be read", 0),
        (
            (0, "", ""),
            (1, json.dumps({"dependencies": [HOLED]}), "Found 1 known vulnerability"),
            "aiohttp 3.0: PYSEC-1, mended in 3.1",
            1,
        ),
    ],
)
def test_a_machine_without_an_index_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    install: tuple[int, str, str],
    ask: tuple[int, str, str] | None,
    line: str,
    code: int,
) -> None:
    answers = iter([install, ask])

    def run(command: tuple[str, ...], **options: Any) -> Any:
        answer = next(answers)
        if answer is None:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return subprocess.CompletedProcess(command, *answer)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("sys.argv", ["audit"])
    assert audit.main() == code
    assert capsys.readouterr().out == f"audit: {line}\n"
