"""A table by URL of what is remembered about requests, with limits for the entries and for the size of their URLs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from aiohttp.typedefs import StrOrURL

__all__ = ["MAX_URL_CHARS", "Remembered"]

MAX_REMEMBERED: Final = 10_000
MAX_URL_CHARS: Final = 1024  # a longer one is not remembered
MAX_CHARS: Final = 1024 * 1024  # of all URLs together; an entry takes a few times the memory of its URL

V = TypeVar("V")


class Remembered(OrderedDict[StrOrURL, V]):
    """A table by URL, as the caller gave it; evicts the oldest entry first."""

    def __init__(self) -> None:
        super().__init__()
        self._chars = 0

    def keep(self, url: StrOrURL, value: V) -> None:
        """Remember *value* for *url*; does nothing if *url* is longer than `MAX_URL_CHARS`."""
        chars = len(url) if type(url) is str else _chars_of(url)
        if chars > MAX_URL_CHARS:
            return
        if url not in self:
            self._chars += chars
        self[url] = value
        while self._chars > MAX_CHARS or len(self) > MAX_REMEMBERED:
            oldest, _ = self.popitem(last=False)
            self._chars -= len(oldest) if type(oldest) is str else _chars_of(oldest)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._chars = 0


def _chars_of(url: StrOrURL) -> int:
    return len(url if isinstance(url, str) else str(url))
