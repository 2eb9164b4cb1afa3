"""The store by itself: what it sends to a real server, and how it reads the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from typing import Any, cast

import msgspec
import pytest

from aiohttp_cache_di.backends.redis.records import leases
from aiohttp_cache_di.backends.redis.store import PAGE, RedisStore
from aiohttp_cache_di.backends.store import UNREADABLE, Found, Item, Lease, Record
from aiohttp_cache_di.backends.store.capabilities import Changing, Expiring, Leasing, LookingOrLeasing
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.items import Opaque
from aiohttp_cache_di.errors import StorageError
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.backends.redis.opened import make_store
from tests.valkey import ValkeyServer

NEVER = float("inf")
TOLD_WITHIN_S = 10


@pytest.fixture
async def store(own_valkey: ValkeyServer) -> AsyncIterator[RedisStore]:
    store = make_store(own_valkey, "app")
    yield store
    await store.close()


def record(key: str, body: bytes = b"body", until: float = NEVER, *, leased: bool = False) -> Record:
    return Record(key, make_entry(key, body), until, leased)


def redirect(key: str) -> StoredResponse:
    entry = make_entry(key)
    return msgspec.structs.replace(entry, status=302, raw_headers=((b"Location", b"/there"),))


def calls(server: ValkeyServer, *names: str) -> dict[str, int]:
    stats: dict[str, Any] = server.command("INFO", "commandstats")
    return {name: int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in names}


async def bodies(store: RedisStore, *keys: str) -> list[bytes | None]:
    found = await store.get(keys)
    return [each.item.body if each and isinstance(each.item, StoredResponse) else None for each in found]


async def test_it_can_do_what_it_says(store: RedisStore) -> None:
    for capability in (Leasing, Changing, Expiring, LookingOrLeasing):
        assert isinstance(store, capability)


async def test_many_keys_are_one_command(own_valkey: ValkeyServer, store: RedisStore) -> None:
    await store.put([record(f"k{index}", b"%d" % index) for index in range(50)])
    own_valkey.command("CONFIG", "RESETSTAT")
    keys = [f"k{index}" for index in range(60)]
    assert await bodies(store, *keys) == [b"%d" % index if index < 50 else None for index in range(60)]
    assert calls(own_valkey, "get", "mget") == {"get": 0, "mget": 1}


async def test_large_values_are_asked_for_in_several_commands(own_valkey: ValkeyServer, store: RedisStore) -> None:
    await store.put([record(f"k{index}", bytes(1_000_000)) for index in range(20)])
    keys = [f"k{index}" for index in range(20)]
    for _ in range(10):
        assert await bodies(store, *keys) == [bytes(1_000_000)] * 20
    own_valkey.command("CONFIG", "RESETSTAT")
    assert await bodies(store, *keys) == [bytes(1_000_000)] * 20
    assert 3 <= calls(own_valkey, "mget")["mget"] <= 10


async def test_every_kind_of_item_comes_back(store: RedisStore) -> None:
    items: dict[str, Item] = {"r": make_entry("r"), "d": redirect("d"), "alias": "r", "o": Opaque("o", b"\x00payload")}
    await store.put([Record(key, item, NEVER) for key, item in items.items()])
    assert await store.get(list(items)) == [Found(item) for item in items.values()]


@pytest.mark.parametrize("value", [b"", b"garbage", b"x" * 100_000])
async def test_what_is_not_ours_is_unreadable(own_valkey: ValkeyServer, store: RedisStore, value: bytes) -> None:
    own_valkey.command("SET", "app:responses:k", value)
    assert await store.get(["k"]) == [Found(UNREADABLE)]


async def test_another_secret_and_another_key_are_unreadable(own_valkey: ValkeyServer, store: RedisStore) -> None:
    theirs = make_store(own_valkey, "app", codec=EntryCodec(secret_key="theirs"))
    await theirs.put([record("signed")])
    await store.put([record("k")])
    own_valkey.command("COPY", "app:responses:k", "app:responses:moved")
    assert await store.get(["signed", "moved"]) == [Found(UNREADABLE)] * 2
    await theirs.close()


async def test_a_value_of_another_type_is_nothing(own_valkey: ValkeyServer, store: RedisStore) -> None:
    own_valkey.command("HSET", "app:responses:hash", "field", "value")
    assert await store.get(["hash"]) == [None]
    assert [row async for page in store.pages(items=False) for row in page] == []
    assert [row async for page in store.pages(items=True) for row in page] == []
    await store.put([record("hash")])
    assert await bodies(store, "hash") == [b"body"]


async def test_a_later_record_of_a_key_replaces_an_earlier_one(store: RedisStore) -> None:
    assert await store.put([record("k", b"1"), record("k", b"2")]) == [0, 0]
    assert await bodies(store, "k") == [b"2"]
    await store.put([record("k", until=time.time() - 1)])
    assert await store.get(["k"]) == [None], "what is over is not kept, and neither is what was before"


async def test_one_record_that_cannot_be_written_leaves_the_others_alone(store: RedisStore) -> None:
    bad = Record("bad", msgspec.structs.replace(make_entry("bad"), url="http://\ud800/"), NEVER)
    one, failed, other = await store.put([record("one"), bad, record("other")])
    assert (one, other) == (0, 0)
    assert isinstance(failed, StorageError)
    assert await bodies(store, "one", "bad", "other") == [b"body", None, b"body"]
    with pytest.raises(StorageError):
        await store.put([bad])


async def test_a_walk_tells_what_leads_on_without_reading_bodies(own_valkey: ValkeyServer, store: RedisStore) -> None:
    await store.put([record(f"k{index}", bytes(100_000)) for index in range(3 * PAGE)])
    await store.put([Record("d", redirect("d"), NEVER), Record("alias", "d", NEVER)])
    own_valkey.command("CONFIG", "RESETSTAT")
    rows = {row.key: row async for page in store.pages(items=False) for row in page}
    assert {key for key, row in rows.items() if row.leads_on} == {"d", "alias"}
    assert len(rows) == 3 * PAGE + 2
    assert all(row.item is None for row in rows.values())
    assert own_valkey.command("INFO", "stats")["total_net_output_bytes"] < 1_000_000


async def test_a_walk_over_items_gives_each_with_its_kind(own_valkey: ValkeyServer, store: RedisStore) -> None:
    await store.put([record("r"), Record("d", redirect("d"), NEVER), Record("alias", "d", NEVER)])
    own_valkey.command("SET", "app:responses:foreign", "x")
    rows = {row.key: (row.leads_on, row.item) async for page in store.pages(items=True) for row in page}
    assert {key: leads_on for key, (leads_on, _) in rows.items()} == {
        "r": False,
        "d": True,
        "alias": True,
        "foreign": False,
    }
    assert rows["alias"][1] == "d"
    assert rows["foreign"][1] is UNREADABLE


@pytest.mark.shortcuts
async def test_a_lease_goes_back_with_the_write_in_one_round_trip(own_valkey: ValkeyServer, store: RedisStore) -> None:
    assert await store.acquire("k", 30) is Lease.GRANTED
    assert await store.acquire("k", 30) is Lease.REFUSED
    with own_valkey.client() as client:
        before = client.info("stats")["total_reads_processed"]
        assert await store.put([record("k", leased=True), record("other", leased=True)]) == [0, 0]
        reads = client.info("stats")["total_reads_processed"] - before - 1
    assert reads <= 2, "a record and its lease go in one piece, and the others behind it"
    assert own_valkey.command("EXISTS", "app:responses-lease:k") == 0
    assert await store.acquire("k", 30) is Lease.GRANTED_LATE


async def test_a_look_up_that_finds_nothing_takes_the_lease_at_once(
    own_valkey: ValkeyServer, store: RedisStore
) -> None:
    other = make_store(own_valkey, "app")
    own_valkey.command("CONFIG", "RESETSTAT")
    assert await store.get_or_acquire("k", 30) is Lease.GRANTED
    assert 29_000 < own_valkey.command("PTTL", "app:responses-lease:k") <= 30_000
    assert await other.get_or_acquire("k", 30) is Lease.REFUSED
    await other.release("k")
    assert await other.get_or_acquire("k", 30) is Lease.REFUSED, "it was not theirs to give back"
    assert calls(own_valkey, "eval")["eval"] == 3
    await store.put([record("k", leased=True)])
    found = await other.get_or_acquire("k", 30)
    assert isinstance(found, Found)
    assert cast(StoredResponse, found.item).body == b"body"
    assert own_valkey.command("EXISTS", "app:responses-lease:k") == 0
    own_valkey.command("HSET", "app:responses:hash", "field", "value")
    assert await store.get_or_acquire("hash", 30) is Lease.GRANTED
    await other.close()


async def test_leases_that_are_never_released_are_forgotten_when_there_are_too_many(
    own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "MAX_HELD", 2)
    store = make_store(own_valkey, "app")
    for key in ("a", "b", "c"):
        assert await store.get_or_acquire(key, 30) is Lease.GRANTED
    assert await store.acquire("d", 30)

    held = [key for key in ("a", "b", "c", "d") if await store.renew(key, 30)]

    assert held == ["c", "d"]
    assert 29_000 < own_valkey.command("PTTL", "app:responses-lease:a") <= 30_000, "it expires by itself"
    await store.close()


async def test_a_look_up_that_was_cancelled_holds_no_lease(own_valkey: ValkeyServer, store: RedisStore) -> None:
    await store.get(["k"])
    asking = asyncio.create_task(store.get_or_acquire("k", 30))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    await store.get(["k"])
    assert own_valkey.command("EXISTS", "app:responses-lease:k") == 0


@pytest.mark.parametrize("forbid", [("-eval",), ("-@scripting",)])
async def test_without_scripts_plain_commands_do_the_same(own_valkey: ValkeyServer, forbid: tuple[str, ...]) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~app:*", "+@all", *forbid)
    store = make_store(own_valkey, "app", user="web:pw@")
    assert await store.get_or_acquire("k", 30) is None, "it is only looked for"
    assert await store.acquire("k", 30) is Lease.GRANTED
    assert await store.acquire("k", 30) is Lease.REFUSED
    assert await store.put([record("k", leased=True)]) == [0]
    assert own_valkey.command("EXISTS", "app:responses-lease:k") == 0
    assert isinstance(await store.get_or_acquire("k", 30), Found)
    assert await store.acquire("k", 30) is Lease.GRANTED_LATE
    await store.release("k")
    assert own_valkey.command("EXISTS", "app:responses-lease:k") == 0
    await store.close()


async def test_a_write_whose_script_is_the_first_to_be_refused_gives_its_lease_back_all_the_same(
    own_valkey: ValkeyServer,
) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~app:*", "+@all", "-eval")
    store = make_store(own_valkey, "app", user="web:pw@")
    assert await store.acquire("k", 30) is Lease.GRANTED
    await store.put([record("k", leased=True)])
    async with asyncio.timeout(TOLD_WITHIN_S):
        while own_valkey.command("EXISTS", "app:responses-lease:k"):  # noqa: ASYNC110  # the server gives no event
            await asyncio.sleep(0.01)
    await store.close()


@pytest.mark.shortcuts
async def test_a_connection_whose_user_may_run_scripts_runs_them_after_one_that_might_not(
    own_valkey: ValkeyServer,
) -> None:
    own_valkey.command("ACL", "SETUSER", "web", "on", ">pw", "~app:*", "+@all", "-eval")
    store = make_store(own_valkey, "app", user="web:pw@")
    assert await store.get_or_acquire("k", 30) is None
    own_valkey.command("ACL", "SETUSER", "web", "+eval")
    assert await store.get_or_acquire("k", 30) is None, "the same connection is not asked again"
    await store.close()
    assert await store.get_or_acquire("k", 30) is Lease.GRANTED
    await store.close()


async def test_a_replica_answers_a_look_up_and_grants_no_lease(own_valkey: ValkeyServer, store: RedisStore) -> None:
    await store.put([record("k")])
    own_valkey.command("REPLICAOF", "127.0.0.1", "1")
    assert isinstance(await store.get_or_acquire("k", 30), Found)
    assert await store.get_or_acquire("none", 30) is None
    own_valkey.command("REPLICAOF", "NO", "ONE")
    assert await store.get_or_acquire("none", 30) is Lease.GRANTED, "it is not taken for one that forbids scripts"


async def test_a_full_server_answers_a_look_up_and_grants_no_lease(own_valkey: ValkeyServer, store: RedisStore) -> None:
    await store.put([record("k")])
    own_valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    own_valkey.command("CONFIG", "SET", "maxmemory", "1")
    assert isinstance(await store.get_or_acquire("k", 30), Found)
    assert await store.get_or_acquire("none", 30) is None
    own_valkey.command("CONFIG", "SET", "maxmemory", "0")
    assert await store.get_or_acquire("none", 30) is Lease.GRANTED


async def test_what_expires_is_found_without_a_look_at_it(store: RedisStore) -> None:
    now = time.time()
    await store.put([record(f"k{index}", until=now + (50 if index % 2 else 500)) for index in range(20)])
    await store.put([record("never")])
    assert await store.delete_expired(now) == 0
    assert await store.delete_expired(now + 100) == 10


class Ear:
    """Records the notifications of a store."""

    def __init__(self, store: RedisStore) -> None:
        self.heard: list[Collection[str] | None] = []
        self.event = asyncio.Event()
        store.on_change(self.hear)

    def hear(self, keys: Collection[str] | None) -> None:
        self.heard.append(keys)
        self.event.set()

    async def next(self) -> Collection[str] | None:
        async with asyncio.timeout(TOLD_WITHIN_S):
            while not self.heard:
                self.event.clear()
                await self.event.wait()
        return self.heard.pop(0)


@pytest.mark.parametrize("by", ["get", "get_or_acquire", "pages"])
@pytest.mark.parametrize("is_open", [False, True])
async def test_a_change_by_another_is_heard_of_what_was_read(
    own_valkey: ValkeyServer, store: RedisStore, by: str, is_open: bool
) -> None:
    other = make_store(own_valkey, "app")
    await other.put([record("k"), record("unread")])
    if is_open:
        await store.get(["unread"])
    ear = Ear(store)
    if by == "get":
        await store.get(["x", "k"])
    elif by == "get_or_acquire":
        await store.get_or_acquire("k", 1)
    else:
        assert [len(page) async for page in store.pages(items=True)] == [2]
    await other.put([record("k", b"new")])
    assert await ear.next() == ["k"]
    await other.put([record("k", b"newer")])
    await store.get(["k"])
    assert ear.heard == [], "one that was not read since is not told again"
    await other.clear()
    assert await ear.next() is not None
    own_valkey.command("FLUSHALL")
    while await ear.next() is not None:
        pass
    await other.close()


async def test_a_key_that_was_missing_is_heard_of_too(own_valkey: ValkeyServer, store: RedisStore) -> None:
    ear = Ear(store)
    assert await store.get(["k"]) == [None]
    other = make_store(own_valkey, "app")
    await other.put([record("k")])
    assert await ear.next() == ["k"]
    await other.close()


async def test_a_change_of_our_own_that_was_not_waited_for_is_heard(store: RedisStore) -> None:
    ear = Ear(store)
    await store.put([record("k")])
    await store.get(["k"])
    deleting = asyncio.create_task(store.delete(["k"]))
    await asyncio.sleep(0)
    deleting.cancel()
    assert await ear.next() == ["k"]


async def test_a_lost_connection_may_have_missed_anything(own_valkey: ValkeyServer, store: RedisStore) -> None:
    ear = Ear(store)
    await store.put([record("k")])
    await store.get(["k"])
    own_valkey.restart(kill=True)
    assert await ear.next() is None
    await store.put([record("k")])
    await store.get(["k"])
    ear.heard.clear()
    own_valkey.command("SET", "app:responses:k", "changed")
    assert await ear.next() == ["k"], "the next connection tracks too"


async def test_keys_of_others_are_not_told(own_valkey: ValkeyServer, store: RedisStore) -> None:
    ear = Ear(store)
    connection = await store.topology.connection(b"")
    assert connection.on_push is not None
    connection.on_push([b"invalidate", [b"theirs", b"app:responses:k"]])
    connection.on_push([b"message", b"channel", b"text"])
    assert ear.heard == [["k"]]


def test_each_loop_hears_what_was_read_in_it(own_valkey: ValkeyServer) -> None:
    store = make_store(own_valkey, "app")

    async def use() -> None:
        ear = Ear(store)
        await store.get(["k"])
        own_valkey.command("SET", "app:responses:k", "x")
        assert await ear.next() == ["k"]
        await store.close()
        assert await ear.next() is None

    for _ in range(2):
        asyncio.run(use())


async def test_a_cancelled_read_takes_no_other_with_it(store: RedisStore) -> None:
    await store.put([record(f"k{index}", b"%d" % index) for index in range(100)])
    reads = [asyncio.create_task(bodies(store, f"k{index}", "k0")) for index in range(100)]
    await asyncio.sleep(0)
    for read in reads[::2]:
        read.cancel()
    found = await asyncio.gather(*reads, return_exceptions=True)
    assert found[1::2] == [[b"%d" % index, b"0"] for index in range(1, 100, 2)]
