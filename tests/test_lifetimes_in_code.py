"""Code may give a lifetime as environment variables do, as text with units, wherever a lifetime is accepted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aiohttp_cache_di import (
    CacheBackend,
    CachedSession,
    CacheSettings,
    DynamoDBBackend,
    FileBackend,
    MongoDBBackend,
    RedisBackend,
    SQLiteBackend,
    UrlExpiration,
)
from aiohttp_cache_di.policy.rules.book import Wishes
from aiohttp_cache_di.settings.build import build_backend
from tests.origin import Origin, answer

URL = "https://example.org/page"
TEXTS: dict[str, float | None] = {
    "5m": 300.0,
    "1h30m": 5400.0,
    "250ms": 0.25,
    "300": 300.0,
    "0": 0.0,
    "never": None,
    "-1": None,
}
"""Texts and the lifetime in seconds, None for ever."""

PLACES: dict[str, Callable[[Any], float | None]] = {
    "backend": lambda text: CacheBackend(expire_after=text).rules_for(URL).lifetime_s,
    "pattern": lambda text: CacheBackend(urls_expire_after={"*": text}).rules_for(URL).lifetime_s,
    "rule": lambda text: CacheBackend(urls_expire_after={"*": UrlExpiration(text)}).rules_for(URL).lifetime_s,
    "request": lambda text: CacheBackend().rules_for(URL, Wishes(expire_after=text)).lifetime_s,
    "actions": lambda text: CacheBackend().create_cache_actions("k", URL, expire_after=text).rules.lifetime_s,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_lifetime_is_written_in_code_as_in_a_variable(place: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_CACHE_EXPIRE_AFTER", text)
    of_variable = build_backend(CacheSettings(backend="memory", cache_control=False)).rules_for(URL).lifetime_s

    found = PLACES[place](text)

    assert found == of_variable
    assert found == (float("inf") if TEXTS[text] is None else TEXTS[text])


BACKENDS: dict[str, Callable[[Path], CacheBackend]] = {
    "sqlite": lambda path: SQLiteBackend(str(path / "c"), expire_after="5m"),
    "filesystem": lambda path: FileBackend(path / "c", expire_after="5m"),
    "redis": lambda path: RedisBackend(expire_after="5m"),
    "mongodb": lambda path: MongoDBBackend(expire_after="5m"),
    "dynamodb": lambda path: DynamoDBBackend("table", expire_after="5m"),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_takes_it(name: str, tmp_path: Path) -> None:
    assert BACKENDS[name](tmp_path).rules_for(URL).lifetime_s == 300.0


async def test_a_session_takes_it_for_all_requests_and_for_one(origin: Origin) -> None:
    async with CachedSession(expire_after="5m") as session:
        await (await session.get(origin.on("/a", answer("a")))).read()
        await (await session.get(origin.on("/b", answer("b")), expire_after="2h")).read()
        lives = [
            response.expires - response.created_at
            async for response in session.cache.responses.values()
            if not isinstance(response, str | bytes | None) and response.expires is not None
        ]

    assert [round(life / timedelta(minutes=1)) for life in sorted(lives)] == [5, 120]
