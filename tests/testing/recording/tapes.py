"""What tests of recordings do again and again: ask for a text, look into a file, write one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from aiohttp_cache_di import CachedSession
from aiohttp_cache_di.testing.recording.exchanges import Exchange
from aiohttp_cache_di.testing.recording.keeping.files import loaded

__all__ = ["kept", "put", "text_at", "text_of"]


async def text_of(url: str, session: ClientSession | None = None, method: str = "GET", **options: Any) -> str:
    """What is answered to a request by *session*, or by a new one that is closed."""
    if session is None:
        async with CachedSession(cache_control=True) as made, made.request(method, url, **options) as response:
            return await response.text()
    async with session.request(method, url, **options) as response:
        return await response.text()


def text_at(path: Path) -> str:
    """What is in a file."""
    return path.read_text(encoding="utf-8")


def put(path: Path, text: str) -> None:
    """Write *text* into a file, in place of what is there."""
    path.write_text(text, encoding="utf-8")


def kept(path: Path) -> list[Exchange]:
    """What is recorded in a file."""
    return loaded(text_at(path)).exchanges
