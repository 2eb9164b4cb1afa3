"""Records that cannot be read are reported: nothing else tells of a key that one of several services lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.wrap.guarding.outages import LOG_INTERVAL_S, Outages
from tests.origin import Origin, answer


def test_records_that_cannot_be_read_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    outages = Outages(lambda: now)
    outages.unreadable()
    outages.unreadable(2)
    now = LOG_INTERVAL_S
    outages.unreadable()
    first, second = caplog.messages
    assert first == (
        "The store has records that cannot be read: damaged, foreign, made by another serializer, or signed with a "
        "secret_key that is not given here; their responses are fetched anew. No more of this kind is logged for 60 s"
    )
    assert "fetched anew; 2 more of this kind since the last message." in second


async def test_a_service_with_another_key_is_told_by_the_log(
    origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, path = origin.on("/a", answer("text", headers={"Cache-Control": "max-age=60"})), tmp_path / "cache.sqlite"
    for key in ("the key of all services", "the key of all services", "the key of one service"):
        async with CachedSession(cache=SQLiteBackend(str(path), secret_key=key)) as session:
            for _ in range(2):
                await (await session.get(url)).read()
    assert origin.hits == 2
    (told,) = caplog.messages
    assert told.startswith(f"The store {path} has records that cannot be read")
