"""What aiohttp-client-cache itself has stored is taken over."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di.cli.main import main
from tests.integrations.origin import running_origin

older: Any = pytest.importorskip("aiohttp_client_cache", reason="aiohttp-client-cache is not installed")


@pytest.mark.parametrize("secret", [None, "a secret of the service"])
def test_a_file_of_the_library_is_taken_over(
    secret: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"BACKEND": "sqlite", "SQLITE__PATH": "new.sqlite", "CACHE_CONTROL": "false"}.items():
        monkeypatch.setenv(f"AIOHTTP_CACHE_{name}", value)
    if secret is not None:
        monkeypatch.setenv("AIOHTTP_CACHE_SECRET_KEY", secret)

    async def fill(url: str) -> None:
        methods = ("GET", "HEAD", "POST")
        cache = older.SQLiteBackend("old", expire_after=3600, allowed_methods=methods, secret_key=secret)
        async with older.CachedSession(cache=cache) as session:
            for headers in ({}, {"Authorization": "Bearer alice"}):
                async with session.get(f"{url}/{len(headers)}", headers=headers) as response:
                    await response.read()

    with running_origin() as origin:
        asyncio.run(fill(origin.url))
        assert main(["copy", "--json", "--from-aiohttp-client-cache", "old.sqlite"]) == 0
    assert json.loads(capsys.readouterr().out) == {"copied": 2, "left": 0, "reasons": {}}
