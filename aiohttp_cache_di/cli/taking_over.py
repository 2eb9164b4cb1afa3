"""The command ``copy --from-aiohttp-client-cache``: import what that library has stored in a SQLite file."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from aiohttp_cache_di.backends.operating.selection import selection
from aiohttp_cache_di.backends.store.inspecting import Wanted
from aiohttp_cache_di.cli.adopting import Adopter, NotAdopted
from aiohttp_cache_di.cli.drawing import progress
from aiohttp_cache_di.cli.expecting import selectors
from aiohttp_cache_di.cli.older_files import OlderFile, OlderRow
from aiohttp_cache_di.cli.running import DONE, Cache, expect_secret
from aiohttp_cache_di.cli.tables import columns, entries_of
from aiohttp_cache_di.entries.info import info_of
from aiohttp_cache_di.entries.older import OlderResponse, UnknownPickleError, is_signed, read_older

__all__ = ["take_over"]

HEAD_BYTES: Final = 1024 * 1024  # of an old response without its body, at most
MAX_SEEN: Final = 500_000  # entries that are remembered, so that each is counted once
MAX_REASONS: Final = 30  # reported separately: some quote the file, which is untrusted
REASONS: Final = {
    "authorization": "for a user who has logged in, and the cache is shared",
    "bypass": "expire_after=0 for the URL: nothing is cached here",
    "cut": "a redirect, whose body was not kept",
    "damaged": "the body is not as long as its head says",
    "expired": "the lifetime is over",
    "filtered": "filter_fn or is_cacheable refused it",
    "impossible": "a URL, a header field or a time in it is impossible",
    "method": "the method is not cached here",
    "newer": "it is stored already, or a newer one is",
    "no-lifetime": "no lifetime, and nothing by which it could be validated",
    "no-store": "request or response forbids it",
    "principal": "it is unknown for which user it is",
    "request": "the request forbids it, or asks for a part or under a condition",
    "request-body": "of a request with a body, which was not kept",
    "selected": "not what --host, --match and the like say",
    "status": "the status is not one that is stored here",
    "too-large": "the body is longer than max_body_bytes",
    "undecoded": "of a session that does not decode bodies",
    "vary": "it varies on everything",
}


async def take_over(given: argparse.Namespace, cache: Cache) -> int:
    """Import the responses in the file, and report how many were not imported and why."""
    backend = cache.backend
    await expect_secret(backend)
    wanted = selection(selectors(given), ignored_params=backend.ignored_params, ordered=backend.is_ordered)
    most_bytes = int(backend.largest_in_memory_bytes) + HEAD_BYTES
    file = await asyncio.to_thread(OlderFile, given.older, most_bytes)
    secrets = [key.get_secret_value().encode() for key in cache.settings.secret_key]
    taker = _Taker(Adopter(backend), wanted, secrets, is_signed=file.is_signed)
    number = -(2**63)
    with progress("taking over", file.count, quiet=cache.as_json) as advance:
        while rows := await asyncio.to_thread(file.rows_after, number):
            for row in rows:
                await taker.take(row)
                advance(1)
            number = rows[-1].number
    left = taker.left
    told = {"copied": taker.copied, "left": left.total(), "reasons": dict(left.most_common())}
    cache.tell(told, lambda: _lines(taker.copied, left))
    return DONE


def _lines(copied: int, left: Counter[str]) -> list[str]:
    lines = [f"{entries_of(copied)} taken over, {left.total()} left"]
    if left:
        rows = [(str(count), why, REASONS.get(why, "")) for why, count in left.most_common()]
        lines += ["", *columns([("LEFT", "WHY", ""), *rows], right=(0,))]
    return lines


class _Taker:
    """Imports rows, and counts.

    Args:
        wanted: tells whether an entry is selected.
        secrets: the keys with which values may be signed.
        is_signed: the file has signed values, so unsigned ones are refused: something else wrote them.
    """

    def __init__(self, adopter: Adopter, wanted: Wanted, secrets: Sequence[bytes], *, is_signed: bool) -> None:
        self._adopter, self._wanted, self._secrets, self._is_signed = adopter, wanted, secrets, is_signed
        self.copied = 0
        self._seen = set[int]()
        self.left = Counter[str]()

    async def take(self, row: OlderRow) -> None:
        """Import one row, or count why it is not imported."""
        try:
            response = self._read(row)
            hops = await self._hops(response)
            await self._take(response, hops)
        except NotAdopted as why:
            self._leave(str(why))
        except UnknownPickleError as why:
            self._leave(f"not read: {why}")

    def _read(self, row: OlderRow) -> OlderResponse:
        if row.value is None:
            raise NotAdopted("too-large")
        if self._is_signed and not is_signed(row.value):
            raise UnknownPickleError("it is not signed, as others in the file are")
        return read_older(row.value, self._secrets)

    async def _hops(self, response: OlderResponse) -> list[str]:
        """Import the redirects that led to *response*; return their keys."""
        found: list[str] = []
        for hop in response.history:
            try:
                found.append(await self._take(hop._replace(expires=response.expires), is_hop=True))
            except NotAdopted as why:
                self._leave(str(why))
        return found

    async def _take(self, response: OlderResponse, links: Sequence[str] = (), *, is_hop: bool = False) -> str:
        adopted = self._adopter.adopted(response, links)
        if not self._wanted(info_of(adopted.entry)):
            raise NotAdopted("selected")
        # The file has a response once for itself and once for each redirect to it, and a redirect in each of these.
        is_counted = adopted.identity in self._seen
        if len(self._seen) < MAX_SEEN:
            self._seen.add(adopted.identity)
        try:
            placed = await self._adopter.put(adopted)
        except NotAdopted as why:
            if why.key and (is_counted or is_hop):
                return why.key
            raise
        self.copied += not is_counted
        return placed.key

    def _leave(self, why: str) -> None:
        self.left[why if why in self.left or len(self.left) < MAX_REASONS else "not read: other reasons"] += 1
