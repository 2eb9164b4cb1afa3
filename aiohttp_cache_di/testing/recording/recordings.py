"""The recordings of a file, found by the requests that they answer."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence

from aiohttp_cache_di.testing.recording.comparing.matching import Key, differences, key_of, nearest, other_keys_of
from aiohttp_cache_di.testing.recording.exchanges import Asked, Exchange
from aiohttp_cache_di.testing.recording.options import RecordingRules

__all__ = ["Recordings"]


class Recordings:
    """Recorded exchanges; those of one request are replayed in their order.

    Args:
        exchanges: filtered, in the order of the file.
        rules: say which requests are the same, and whether the last recording of a request is replayed again.
    """

    def __init__(self, exchanges: Sequence[Exchange], rules: RecordingRules) -> None:
        self.exchanges: list[Exchange] = list(exchanges)
        self._rules = rules
        self._left: defaultdict[Key, deque[Exchange]] = defaultdict(deque)
        self._last: dict[Key, Exchange] = {}
        self._times: Counter[Key] = Counter()
        self._also: dict[Key, Key] = {}
        for exchange in self.exchanges:
            key = self.key_of(exchange)
            self._left[key].append(exchange)
            self._times[key] += 1
            for other in other_keys_of(exchange.asked, self._filtered_key):
                self._also.setdefault(other, key)

    def key_of(self, exchange: Exchange) -> Key:
        """The key of *exchange*."""
        return self._key(exchange.asked)

    def key_for(self, asked: Asked) -> Key:
        """The key of the recordings of *asked*, a filtered request, or its own key if there are none."""
        key = self._key(asked)
        return key if key in self._times else self._also.get(key, key)

    def times(self, key: Key) -> int:
        """How many recordings there are under *key*, replayed or not."""
        return self._times[key]

    def next(self, key: Key) -> Exchange | None:
        """The next recording under *key* to replay; None if there is none left."""
        left = self._left.get(key)
        if left:
            self._last[key] = left.popleft()
        elif not self._rules.repeat:
            return None
        return self._last.get(key)

    def nearest(self, key: Key) -> tuple[Asked, list[str]] | None:
        """The recorded request that differs least from *key*, and the differences; None if nothing is recorded."""
        near = nearest(key, self._times)
        if near is None:
            return None
        return next(one.asked for one in self.exchanges if self.key_of(one) == near), differences(key, near)

    def _key(self, asked: Asked) -> Key:
        return key_of(asked, headers=self._rules.match_headers, ignored=self._rules.ignore)

    def _filtered_key(self, asked: Asked) -> Key:
        return self._key(self._rules.filters.asked(asked))
