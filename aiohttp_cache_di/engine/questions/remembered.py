"""What is remembered of requests of one method, by their URLs: bounded in number and in what URLs weigh."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from aiohttp.typedefs import StrOrURL

__all__ = ["MAX_URL_CHARS", "Remembered"]

MAX_REMEMBERED: Final = 10_000
MAX_URL_CHARS: Final = 1024  # a longer one is not remembered
MAX_CHARS: Final = 1024 * 1024  # of all URLs together; what is kept of one weighs some times as much

V = TypeVar("V")


class Remembered(OrderedDict[StrOrURL, V]):
    """A table of what requests have come to, by their URLs as they were given; what was remembered first goes first."""

    def __init__(self) -> None:
        super().__init__()
        self._chars = 0

    def keep(self, url: StrOrURL, value: V) -> None:
        """Remember *value* for *url*, unless that is too long."""
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
