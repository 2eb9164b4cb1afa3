"""How many writes go into one put."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp_cache_di.backends.store import Item, Limits, Record, Written
from aiohttp_cache_di.backends.wrap.guarding.guard import StoreGuard
from aiohttp_cache_di.backends.wrap.writing.puts import Puts
from aiohttp_cache_di.backends.wrap.writing.tombstones import Tombstones
from aiohttp_cache_di.backends.wrap.writing.write import Write
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.proof import ProofStore


class PickyStore(ProofStore):
    """A store that refuses to put while a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(batch=8)
        self.refuses = True
        self.sizes: list[int] = []

    async def put(self, records: Sequence[Record]) -> Sequence[Written]:
        self.sizes.append(len(records))
        if self.refuses:
            raise OverflowError("one of them is at fault")  # so that the circuit stays closed
        return await super().put(records)


def as_it_is(entry: StoredResponse) -> Item:
    return entry


def ignore(*args: object) -> None:
    """Do nothing."""


async def test_a_put_that_fails_is_halved_until_one_is_alone_and_one_that_does_not_is_doubled() -> None:
    store = PickyStore()
    puts = Puts(store, StoreGuard(), Tombstones(), pack=as_it_is, written=ignore, release=ignore)
    for number in range(80):
        puts.backlog.add(Write(make_entry(f"{number}"), None))
    for store.refuses in [True] * 4 + [False] * 5:
        await puts.put()
    assert store.sizes == [8, 4, 2, 1, 1, 2, 4, 8, 8], "and no more than the store takes"
