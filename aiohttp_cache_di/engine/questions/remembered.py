"""What is remembered of requests, by method and URL as they were given: bounded in number and in what URLs weigh."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias, TypeVar

from aiohttp.typedefs import StrOrURL

__all__ = ["MAX_URL_CHARS", "Asked", "Remembered"]

MAX_REMEMBERED: Final = 10_000
MAX_URL_CHARS: Final = 1024  # a longer one is not remembered
MAX_CHARS: Final = 1024 * 1024  # of all URLs together; what is kept of one weighs some times as much

V = TypeVar("V")

Asked: TypeAlias = tuple[str, StrOrURL]
"""Method and URL."""


class Remembered(OrderedDict[Asked, V]):
    """A table of what requests have come to; what was remembered first goes first."""

    def __init__(self) -> None:
        super().__init__()
        self._chars = 0

    def keep(self, asked: Asked, value: V) -> None:
        """Remember *value* for *asked*, unless its URL is too long."""
        chars = _chars_of(asked)
        if chars > MAX_URL_CHARS:
            return
        if asked not in self:
            self._chars += chars
        self[asked] = value
        while self._chars > MAX_CHARS or len(self) > MAX_REMEMBERED:
            oldest, _ = self.popitem(last=False)
            self._chars -= _chars_of(oldest)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._chars = 0


def _chars_of(asked: Asked) -> int:
    url = asked[1]
    return len(url if isinstance(url, str) else str(url))
