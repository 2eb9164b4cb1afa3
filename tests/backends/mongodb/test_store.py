"""MongoDBStore against a real server."""

from __future__ import annotations

import asyncio
import gc
import math
import re
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from msgspec.structs import replace
from pymongo import AsyncMongoClient, MongoClient, monitoring
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect, NotPrimaryError, OperationFailure, PyMongoError
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
    TopologyListener,
)

from aiohttp_cache_di.backends.calls import DetachedCalls, SharedTask
from aiohttp_cache_di.backends.mongodb import MongoDBBackend, clock, expiry, stream
from aiohttp_cache_di.backends.mongodb.client import Connection
from aiohttp_cache_di.backends.mongodb.clock import ServerClock
from aiohttp_cache_di.backends.mongodb.store import WATCHING, MongoDBStore, _page
from aiohttp_cache_di.backends.store import Lease
from aiohttp_cache_di.backends.store.capabilities import (
    Changing,
    Describing,
    Expiring,
    Leasing,
    LookingOrLeasing,
    Versioned,
)
from aiohttp_cache_di.backends.wrap.guarding.outages import cause_of, kind_of
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import ConfigurationError, StorageError
from tests.backends.remote_contract import MakeStore, RemoteContract, entry, looked, read, write
from tests.backends.store_contract import StoreContract
from tests.backends.timed_waits import TimedWait, leave
from tests.secantus import SecantusServer

UPDATES = {"findAndModify", "insert", "update"}


def make_store(
    server: SecantusServer, name: str | None = None, codec: EntryCodec | None = None, **options: Any
) -> MongoDBStore:
    """Make a store in the database *name*, by default in a new one."""
    return MongoDBStore(
        name or uuid.uuid4().hex, "responses", codec=codec or EntryCodec(), options={"host": server.url, **options}
    )


class TestContract(StoreContract):
    """The contract of every store."""

    @pytest.fixture
    def make(self, secantus: SecantusServer) -> MakeStore:
        name = uuid.uuid4().hex
        return partial(make_store, secantus, name)


class TestRemoteContract(RemoteContract):
    """The contract of every store on a server."""

    @pytest.fixture
    def make(self, secantus: SecantusServer) -> MakeStore:
        self.server, self.name = secantus, uuid.uuid4().hex
        return partial(make_store, secantus, self.name)

    async def meddle(self, key: str, change: Callable[[bytes], Any]) -> None:
        with self.server.client() as client:
            collection = client[self.name]["responses"]
            document = collection.find_one({"_id": key})
            assert document is not None
            collection.update_one({"_id": key}, {"$set": {"v": change(document["v"])}})


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationFailure("s3cret", 13, {"codeName": "Unauthorized"}), "Unauthorized"),
        (OperationFailure("s3cret", 8000), "8000"),
        (OperationFailure("s3cret"), ""),
        (AutoReconnect("s3cret"), ""),
        (StorageError("an entry is too large"), "an entry is too large"),
    ],
)
async def test_of_an_error_the_servers_name_for_it_is_told_or_words_of_ours_and_none_of_the_drivers(
    error: Exception, told: str
) -> None:
    store = MongoDBStore("db", "responses", codec=EntryCodec())
    assert isinstance(store, Describing)
    assert store.told_of(error) == told
    assert "s3cret" not in cause_of(kind_of(error), error, store)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
@pytest.mark.parametrize("options", [{"storage_deadline": 0.2}, {"serverSelectionTimeoutMS": 200}], ids=["ours", "its"])
async def test_the_systems_error_is_told_if_no_server_can_be_reached_in_time(host: str, options: Any) -> None:
    backend = MongoDBBackend("db", host=f"mongodb://user:s3cret@{host}", **options)
    reason = (await backend.ping()).reason
    assert re.search(r"read fails \((timeout|ServerSelectionTimeoutError): \[Errno -?\d+\] [\w ]+\)$", reason)
    await backend.close()


# ---- commands to the server


async def test_the_server_drops_what_has_expired_by_a_ttl_index_on_a_date(secantus: SecantusServer) -> None:
    store = make_store(secantus, name := uuid.uuid4().hex)
    until = time.time() + 1000.25
    await write(store, entry("k", until=until), entry("never", until=math.inf))
    with secantus.client(tz_aware=True) as client:
        collection = client[name]["responses"]
        assert collection.index_information()["until_1"]["expireAfterSeconds"] == 0
        document, never = collection.find_one({"_id": "k"}), collection.find_one({"_id": "never"})
    assert document is not None
    assert never is not None
    assert document["until"].timestamp() == pytest.approx(until, abs=0.002)
    assert "until" not in never
    await store.close()


async def test_a_lease_on_nothing_is_dropped_by_the_server_and_one_on_a_record_does_not_drop_it(
    secantus: SecantusServer,
) -> None:
    store = make_store(secantus, name := uuid.uuid4().hex)
    await write(store, entry("never"))
    begun = time.time()
    assert await store.acquire("empty", 5) == Lease.GRANTED
    assert await store.acquire("never", 5) == Lease.GRANTED_LATE
    with secantus.client(tz_aware=True) as client:
        documents = {each["_id"]: each for each in client[name]["responses"].find()}
    assert begun + 4 < documents["empty"]["until"].timestamp() < time.time() + 6
    assert "until" not in documents["never"]
    await store.release("empty")
    await store.release("never")
    with secantus.client() as client:
        assert [sorted(each) for each in client[name]["responses"].find()] == [["_id", "f", "i", "v"]]
    await store.close()


async def test_a_write_without_the_lease_leaves_it_to_its_owner(secantus: SecantusServer) -> None:
    one, two = make_store(secantus, name := uuid.uuid4().hex), make_store(secantus, name)
    assert await one.acquire("k", 5)
    await write(two, entry("k"), replace(entry("j"), leased=True))
    assert not await two.acquire("k", 5)
    await write(one, replace(entry("k"), leased=True))
    assert await two.acquire("k", 5) == Lease.GRANTED_LATE
    await one.close()
    await two.close()


async def test_expired_records_are_dropped_when_asked_for(secantus: SecantusServer) -> None:
    store = make_store(secantus, name := uuid.uuid4().hex)
    assert isinstance(store, Expiring)
    now = time.time()
    await write(store, entry("soon", until=now + 100), entry("late", until=now + 10_000), entry("never"))
    await store.acquire("leased", 1)
    assert await store.delete_expired(now + 1000) == 1
    with secantus.client() as client:
        assert {each["_id"] for each in client[name]["responses"].find()} == {"late", "never", "leased"}
    await store.close()


async def test_a_batch_is_one_find_and_a_put_is_one_update(secantus: SecantusServer) -> None:
    seen: list[str] = []
    store = make_store(secantus, event_listeners=[Heard(seen)])
    await write(store, entry("first"))
    seen.clear()
    keys = [f"k{n}" for n in range(store.limits.batch)]
    await write(store, *map(entry, keys))
    await store.get(keys)
    await store.kinds(keys)
    await store.delete(keys)
    assert seen == ["update", "find", "find", "delete"]
    await store.close()


async def test_a_miss_is_a_look_that_leases_and_a_write_that_gives_it_back(secantus: SecantusServer) -> None:
    seen: list[str] = []
    store = make_store(secantus, event_listeners=[Heard(seen)])
    await write(store, entry("first"))
    seen.clear()
    await store.get_or_acquire("k", 5)
    await write(store, replace(entry("k"), leased=True))
    await store.release("k")
    assert seen == ["insert", "update"]
    seen.clear()
    await store.get(["j"])
    await store.acquire("j", 5)
    await write(store, replace(entry("j"), leased=True))
    await store.get_or_acquire("j", 5)
    assert seen == ["find", "findAndModify", "find", "update", "insert", "find"]
    await store.close()


async def test_who_asks_for_a_lease_while_its_record_is_written_learns_of_the_record(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(secantus)
    await write(store, entry("k"))

    async def overtaken(*args: Any, **kwargs: Any) -> None:
        """The answer of some servers about a document that was written meanwhile."""

    monkeypatch.setattr(AsyncCollection, "find_one_and_update", overtaken)
    assert await store.acquire("k", 5) is Lease.GRANTED_LATE
    assert await store.acquire("none", 5) is Lease.GRANTED
    await store.close()


async def test_no_update_is_a_pipeline_which_some_servers_do_not_take(secantus: SecantusServer) -> None:
    asked: list[dict[str, Any]] = []
    store = make_store(secantus, event_listeners=[Asked(asked)])
    await write(store, entry("k", until=time.time() + 60), entry("over", until=time.time() - 60))
    for key in ("k", "over", "none"):
        await store.acquire(key, 5)
        await store.renew(key, 5)
        await store.release(key)
        await store.get_or_acquire(key, 5)
        await write(store, replace(entry(key), leased=True))
    await store.close()
    updates = [each["u"] for command in asked for each in command.get("updates", ())]
    updates += [command["update"] for command in asked if "findAndModify" in command]
    assert len(updates) > 10
    assert {type(update) for update in updates} == {dict}


async def test_a_lease_waits_for_one_server_and_a_record_for_as_many_as_its_user_says(
    secantus: SecantusServer,
) -> None:
    asked: list[dict[str, Any]] = []
    store = make_store(secantus, event_listeners=[Asked(asked)], w="majority")
    await store.get_or_acquire("k", 5)
    await store.acquire("j", 5)
    await write(store, entry("k"))
    await store.close()
    written = [(name, command.get("writeConcern")) for command in asked if (name := next(iter(command))) in UPDATES]
    assert written == [("insert", {"w": 1}), ("findAndModify", {"w": 1}), ("update", {"w": "majority"})]


@pytest.mark.parametrize(
    ("options", "is_marked"),
    [({}, False), ({"retryWrites": True}, True), ({"host": "mongodb://127.0.0.1:{port}/?retryWrites=true"}, True)],
)
async def test_writes_are_not_marked_as_to_be_tried_again_which_some_servers_refuse_unless_asked_for(
    secantus: SecantusServer, options: dict[str, Any], *, is_marked: bool
) -> None:
    asked: list[dict[str, Any]] = []
    if "host" in options:
        options = {"host": options["host"].format(port=secantus.port)}
    store = make_store(secantus, event_listeners=[Asked(asked)], **options)
    await store.acquire("k", 5)
    await write(store, replace(entry("k"), leased=True))
    await store.close()
    assert {"txnNumber" in command for command in asked if UPDATES & command.keys()} == {is_marked}


async def test_a_write_after_a_deletion_leaves_no_lease_behind(secantus: SecantusServer) -> None:
    store = make_store(secantus, name := uuid.uuid4().hex)
    assert await store.get_or_acquire("k", 5) is Lease.GRANTED
    await store.delete(["k"])
    await write(store, replace(entry("k"), leased=True))
    with secantus.client() as client:
        assert [sorted(each) for each in client[name]["responses"].find()] == [["_id", "f", "i", "v"]]
    await store.close()


@pytest.mark.parametrize("has_granted", [True, False])
async def test_a_lease_whose_answer_is_lost_with_a_primary_is_ours_if_it_was_granted(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch, *, has_granted: bool
) -> None:
    store = make_store(secantus)
    await write(store, entry("k"))
    change: Any = vars(AsyncCollection)["find_one_and_update"]

    async def lost(*args: Any, **kwargs: Any) -> Any:
        if has_granted:
            await change(*args, **kwargs)
        raise AutoReconnect("gone")

    monkeypatch.setattr(AsyncCollection, "find_one_and_update", lost)
    assert await store.acquire("none", 5) is (Lease.GRANTED if has_granted else Lease.REFUSED)
    assert await store.acquire("k", 5) is (Lease.GRANTED_LATE if has_granted else Lease.REFUSED)
    await store.close()


@pytest.mark.parametrize("failure", [AutoReconnect("gone"), NotPrimaryError("gone")])
async def test_a_look_whose_answer_is_lost_with_a_primary_is_asked_for_again(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    store = make_store(secantus)
    await write(store, entry("k"))
    command: Any = vars(AsyncDatabase)["command"]

    async def lost(*args: Any, **kwargs: Any) -> Any:
        answer = await command(*args, **kwargs)
        if isinstance(args[1], dict) and "insert" in args[1]:
            raise failure
        return answer

    monkeypatch.setattr(AsyncDatabase, "command", lost)
    assert await looked(store, "k") == b"body"
    assert await store.get_or_acquire("j", 5) is Lease.GRANTED, "the server has granted it before it went"
    await store.release("j")
    assert await store.get_or_acquire("j", 5) is Lease.GRANTED
    await store.close()


async def test_who_may_not_write_finds_what_is_there_and_asks_for_no_lease_with_a_look(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    store = make_store(secantus, event_listeners=[Heard(seen)])
    await write(store, entry("k"))

    async def refused(*args: Any, **kwargs: Any) -> Any:
        raise OperationFailure("not authorized", 13)

    await store.get_or_acquire("j", 5)
    monkeypatch.setattr(AsyncDatabase, "command", refused)
    seen.clear()
    for _ in range(2):
        assert await looked(store, "k") == b"body"
        assert await store.get_or_acquire("none", 5) is None
    assert seen == ["find"] * 4
    here = await store._loops.here()
    monkeypatch.undo()
    here.looks_alone_until = 0.0
    assert await store.get_or_acquire("none", 5) is Lease.GRANTED
    await store.close()


async def test_a_look_at_what_another_fetches_is_refused_a_lease_without_a_write(secantus: SecantusServer) -> None:
    seen: list[str] = []
    one = make_store(secantus, name := uuid.uuid4().hex)
    two = make_store(secantus, name, event_listeners=[Heard(seen)])
    await write(two, entry("first"))
    assert await one.get_or_acquire("k", 5) is Lease.GRANTED
    seen.clear()
    assert await two.get_or_acquire("k", 5) is Lease.REFUSED
    assert seen == ["insert", "find"]
    await one.close()
    await two.close()


async def test_a_lease_that_the_server_does_not_insert_for_a_reason_of_its_own_hides_no_record(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(secantus)
    await write(store, entry("k"))
    command: Any = vars(AsyncDatabase)["command"]

    async def invalid(*args: Any, **kwargs: Any) -> Any:
        """The answer of a collection whose validator wants other documents."""
        is_insert = isinstance(args[1], dict) and "insert" in args[1]
        refused = {"ok": 1, "n": 0, "writeErrors": [{"index": 0, "code": 121, "errmsg": "Document failed validation"}]}
        return refused if is_insert else await command(*args, **kwargs)

    monkeypatch.setattr(AsyncDatabase, "command", invalid)
    assert await looked(store, "k") == b"body"
    assert await store.get_or_acquire("none", 5) is None, "it is not asked for leases for a while"
    await store.close()


async def test_leases_go_by_the_servers_clock_however_wrong_ours_is(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make_store(secantus, name := uuid.uuid4().hex), make_store(secantus, name)
    await write(two, entry("first"))
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now + 3600)
        assert await one.acquire("k", 5)
    with secantus.client() as client:
        lease = client[name]["responses"].find_one({"_id": "k"})
    assert lease is not None
    assert lease["l"] / 1000 == pytest.approx(now + 5, abs=4)
    assert not await two.acquire("k", 5)
    await one.close()
    await two.close()


@pytest.mark.parametrize("told_ms", [None, 90_000])
async def test_a_server_is_asked_for_its_time_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, told_ms: int | None
) -> None:
    server = FakeDatabase(told_ms)
    tasks: SharedTask[None] = SharedTask("the connection")
    told = ServerClock(server, tasks)  # type: ignore[arg-type]  # nothing else of it is used
    expected = time.time() * 1000 if told_ms is None else told_ms
    times = await asyncio.gather(*(told.now_ms() for _ in range(5)))
    assert times == pytest.approx([expected] * 5, abs=500)
    assert server.asked == 1
    monkeypatch.setattr(clock, "ASK_EVERY_S", 0.0)
    await told.now_ms()
    asking = tasks.here(clock.TASK)
    assert asking is not None
    await asking
    assert server.asked == 2


async def test_a_collection_that_is_dropped_has_its_index_again_after_a_minute(secantus: SecantusServer) -> None:
    asked: list[dict[str, Any]] = []
    store = make_store(secantus, name := uuid.uuid4().hex, event_listeners=[Asked(asked)])
    await write(store, entry("k"))
    with secantus.client() as client:
        client[name].drop_collection("responses")
        await write(store, entry("k"))
        await write(store, entry("k"))
        assert sum("createIndexes" in command for command in asked) == 1
        assert store._expiry._due_at == pytest.approx(time.monotonic() + 60, abs=50)
        store._expiry._due_at = 0.0  # a clock that jumps would confuse the driver, too
        await write(store, entry("k"))
        here = await store._loops.here()
        making = here.tasks.here(expiry.TASK)
        if making is not None:
            await asyncio.wait([making], timeout=20)
        assert client[name]["responses"].index_information()["until_1"]["expireAfterSeconds"] == 0
    assert sum("createIndexes" in command for command in asked) == 2
    await store.close()


async def test_without_the_right_to_make_an_index_all_goes_on_and_it_is_told_once(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(*args: object, **kwargs: object) -> None:
        raise OperationFailure("not authorized", 13)

    monkeypatch.setattr(AsyncCollection, "create_index", refused)
    monkeypatch.setattr(expiry, "MAKE_EVERY_S", 0.0)
    store = make_store(secantus)
    for _ in range(3):
        await write(store, entry("k"))
    assert await read(store, "k") is not None
    await store.close()
    assert caplog.text.count("no TTL index could be made (code 13)") == 1


async def test_an_index_that_takes_long_holds_no_write_up_for_more_than_a_moment(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*args: object, **kwargs: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AsyncCollection, "create_index", slow)
    monkeypatch.setattr(expiry, "FIRST_WITHIN_S", 0.01)
    store = make_store(secantus)
    async with asyncio.timeout(20):
        await write(store, entry("k"))
    assert await read(store, "k") is not None
    here = await store._loops.here()
    making = here.tasks.here(expiry.TASK)
    assert making is not None
    making.cancel()
    await store.close()


# ---- clients


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_listener_to_the_drivers_topology_is_told_of_the_server(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch, *, everywhere: bool
) -> None:
    heard = asyncio.Event()

    class Listener(TopologyListener):
        def opened(self, event: object) -> None:
            heard.set()

        def description_changed(self, event: object) -> None: ...

        def closed(self, event: object) -> None: ...

    if everywhere:
        monkeypatch.setattr("pymongo.monitoring._LISTENERS", deepcopy(vars(monitoring)["_LISTENERS"]))
        monitoring.register(Listener())
    store = make_store(secantus) if everywhere else make_store(secantus, event_listeners=[Listener()])
    await write(store, entry("k"))
    assert await read(store, "k") is not None
    async with asyncio.timeout(10):
        await heard.wait()
    await store.close()


async def test_a_client_that_is_handed_in_is_used_and_stays_open(secantus: SecantusServer) -> None:
    async with AsyncMongoClient[dict[str, Any]](secantus.url, tz_aware=True) as client:
        store = MongoDBStore("lent", "responses", codec=EntryCodec(), connection=client)
        until = time.time() + 1000
        await write(store, entry("k", until=until))
        assert (await read(store, "k")).store_until == until
        await store.close()
        assert await client["lent"]["responses"].count_documents({}) == 1


def test_a_client_that_is_handed_in_is_used_in_no_other_loop(secantus: SecantusServer) -> None:
    async def use() -> None:
        async with AsyncMongoClient[dict[str, Any]](secantus.url) as client:
            store = MongoDBStore("lent", "other", codec=EntryCodec(), connection=client)
            await write(store, entry("k"))

            def elsewhere() -> None:
                with pytest.raises(RuntimeError, match="different event loop"):
                    asyncio.run(read(store, "k"))

            await asyncio.to_thread(elsewhere)
            assert await read(store, "k") is not None
            await store.close()

    asyncio.run(use())


# ---- change streams


@pytest.fixture
async def watched(secantus: SecantusServer) -> AsyncIterator[tuple[MongoDBStore, MongoDBStore, Changes]]:
    """A store with a listener, another store in the same place, and the notifications that arrive."""
    one, two = make_store(secantus, name := uuid.uuid4().hex), make_store(secantus, name)
    changes = Changes()
    one.on_change(changes)
    await one.get(["k"])
    await changes.until(None)
    changes.heard.clear()
    yield one, two, changes
    await one.close()
    await two.close()


async def test_what_another_writes_or_deletes_is_heard_of(
    watched: tuple[MongoDBStore, MongoDBStore, Changes],
) -> None:
    _, two, changes = watched
    await write(two, entry("k"), entry("lone \udc80"))
    await changes.until("lone \udc80")
    await write(two, entry("k", b"again"))
    await two.delete(["k"])
    await two.acquire("j", 5)
    await two.release("j")
    await changes.until("j", times=2)
    assert changes.heard.count("k") == 3


async def test_a_lease_on_a_record_is_no_change(watched: tuple[MongoDBStore, MongoDBStore, Changes]) -> None:
    _, two, changes = watched
    await write(two, entry("k"))
    await two.acquire("k", 5)
    await two.release("k")
    await write(two, entry("last"))
    await changes.until("last")
    assert changes.heard == ["k", "last"]


async def test_after_a_stream_was_lost_any_key_may_have_changed(own_secantus: SecantusServer) -> None:
    store = make_store(own_secantus, serverSelectionTimeoutMS=200)
    changes = Changes()
    await write(store, entry("k"))
    store.on_change(changes)
    await changes.until(None)
    changes.heard.clear()
    own_secantus.kill()
    await changes.until(None)
    own_secantus.start()
    changes.heard.clear()
    async with asyncio.timeout(20):
        while "j" not in changes.heard:
            with suppress(PyMongoError):  # until the driver has seen that it is back
                await write(store, entry("j"))
            await changes.next(within_s=0.5)
    assert changes.heard[0] is None
    await store.close()


async def until_it_watches_no_more(here: Connection) -> None:
    """Wait until the server has said that it has no change streams."""
    watching = here.tasks.here(WATCHING)
    if watching is not None:
        await asyncio.wait([watching], timeout=20)


async def test_who_may_not_watch_is_told_so_once(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", stream.__name__)
    asked: list[object] = []

    async def refused(collection: object, pipeline: object) -> None:
        asked.append(pipeline)
        raise OperationFailure("not authorized to execute command", 13)

    monkeypatch.setattr(AsyncCollection, "watch", refused)
    store = make_store(secantus, uuid.uuid4().hex)
    store.on_change(lambda keys: None)
    for _ in range(2):
        await store.get(["k"])
        here = store._loops.now()
        assert here is not None
        await until_it_watches_no_more(here)
        await store.close()
    assert len(asked) == 1
    assert caplog.text.count("has no change streams") == 1


async def test_one_that_refuses_streams_by_a_code_of_its_own_is_not_asked_for_ever(
    secantus: SecantusServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", stream.__name__)
    asked: list[object] = []

    async def refused(collection: object, pipeline: object) -> None:
        asked.append(pipeline)
        raise OperationFailure("not for this tier", 8000)

    monkeypatch.setattr(AsyncCollection, "watch", refused)
    monkeypatch.setattr(stream, "PAUSES_S", (0.0, 0.001))
    store = make_store(secantus, uuid.uuid4().hex)
    store.on_change(lambda keys: None)
    await store.get(["k"])
    here = await store._loops.here()
    await until_it_watches_no_more(here)
    await store.close()
    assert len(asked) == 3
    assert caplog.text.count("has no change streams") == 1


async def test_a_server_without_change_streams_tells_of_none_and_is_asked_once(tmp_path: Path) -> None:
    with SecantusServer(tmp_path, standalone=True) as server:
        seen: list[str] = []
        store = make_store(server, event_listeners=[Heard(seen)])
        changes = Changes()
        store.on_change(changes)
        await write(store, entry("k"))
        here = await store._loops.here()
        await until_it_watches_no_more(here)
        await store.close()
        await write(store, entry("k"))
        await store.close()
        assert changes.heard == []
        assert seen.count("aggregate") == 1


def test_a_store_tells_what_it_can_do(secantus: SecantusServer) -> None:
    store = make_store(secantus)
    assert isinstance(store, Leasing)
    assert isinstance(store, LookingOrLeasing)
    assert isinstance(store, Changing)
    assert not isinstance(store, Versioned)


# ---- faults


async def test_a_dead_server_is_an_error_and_one_that_is_back_is_used_again(own_secantus: SecantusServer) -> None:
    store = make_store(own_secantus, serverSelectionTimeoutMS=200)
    await write(store, entry("k"))
    own_secantus.kill()
    for call in (store.get(["k"]), store.put([entry("j")]), store.delete(["k"]), store.acquire("k", 5), store.clear()):
        with pytest.raises(PyMongoError):
            await call
    own_secantus.start()
    async with asyncio.timeout(20):
        while True:
            try:
                await write(store, entry("k"))
            except PyMongoError:
                continue  # until the driver has seen that it is back
            break
    assert await read(store, "k") is not None
    await store.close()


async def test_a_frozen_server_holds_up_neither_a_caller_that_leaves_nor_the_closing(
    own_secantus: SecantusServer,
) -> None:
    store = make_store(own_secantus)
    store.on_change(changes := Changes())
    await write(store, entry("k"))
    await changes.until(None)
    with own_secantus.frozen():
        for call in (store.get(["k"]), store.acquire("k", 5)):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.1)
        async with asyncio.timeout(20):  # one or two seconds, more on a busy machine
            await store.close()
    gc.collect()


def test_a_loop_ends_whose_store_was_not_closed_before_the_server_froze(own_secantus: SecantusServer) -> None:
    async def use() -> None:
        store = make_store(own_secantus)
        store.on_change(changes := Changes())
        await write(store, entry("k"))
        await changes.until(None)
        own_secantus.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.get(["k"]), 0.1)

    with asyncio.Runner() as runner:
        runner.run(use())
        ending = threading.Timer(30, own_secantus.kill)  # a failure ends late, but does not hang
        ending.start()
        before = time.monotonic()
    ending.cancel()
    assert time.monotonic() - before < 25  # at most twice the driver's socket timeout
    own_secantus.resume()
    gc.collect()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (10.0, 5.0)),
        ({"socketTimeoutMS": 500}, (0.5, 5.0)),
        ({"host": "mongodb://127.0.0.1:1/?socketTimeoutMS=700&serverSelectionTimeoutMS=800"}, (0.7, 0.8)),
        ({"host": "mongodb://127.0.0.1:1/?timeoutMS=700"}, (None, 30.0)),
    ],
)
async def test_a_call_that_its_caller_has_left_ends_in_time(options: dict[str, Any], expected: object) -> None:
    store = MongoDBStore("db", "responses", codec=EntryCodec(), options={"host": "mongodb://127.0.0.1:1", **options})
    set_to = (await store._loops.here()).collection.database.client.options
    assert (set_to.pool_options.socket_timeout, set_to.server_selection_timeout) == expected
    await store.close()


class TimedCursor(TimedWait):
    """A cursor that asks a server with timed waits."""

    next = __anext__ = TimedWait.__call__


async def test_a_page_that_is_cancelled_as_a_wait_of_the_driver_times_out_does_not_abandon_it() -> None:
    calls, cursor = DetachedCalls(), TimedCursor(0.001)
    await leave(_page(cast("Any", cursor)), calls, at=cursor.ending)
    cursor.may_end.set()
    await calls.finish()
    assert cursor.ended[-1] == "call", "the wait has ended before"


# ---- options


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"hots": "x"}, TypeError, "Unknown option: hots"),
        ({"host": "http://x"}, ConfigurationError, "should look like mongodb://"),
        ({"host": "mongodb://user:s3cr3t@@h/"}, ConfigurationError, "should look like mongodb://"),
        ({"host": "mongodb://user:s3c/r3t@h/"}, ConfigurationError, "should look like mongodb://"),
        ({"host": "mongodb://h/?maxPoolSiz=1"}, ConfigurationError, "Unknown option"),
        ({"maxPoolSize": -1}, ConfigurationError, "maxPoolSize"),
        ({"port": "x"}, ConfigurationError, "port"),
    ],
)
def test_an_option_that_cannot_be_used_is_an_error_at_once(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        MongoDBStore("db", "responses", codec=EntryCodec(), options=options)
    assert "s3c" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_name_that_mongodb_refuses_is_an_error_at_once() -> None:
    with pytest.raises(ConfigurationError, match="not the name of a database"):
        MongoDBStore("a b", "responses", codec=EntryCodec())


def test_another_kind_of_client_is_refused() -> None:
    with MongoClient[dict[str, Any]](connect=False) as client, pytest.raises(ConfigurationError, match="AsyncMongo"):
        MongoDBStore("db", "responses", codec=EntryCodec(), connection=client)


def test_the_address_is_shown_without_credentials() -> None:
    host = "mongodb://user:s3cr3t@h1:27017,h2/?maxPoolSize=5"
    store = MongoDBStore("db", "responses", codec=EntryCodec(), options={"host": host})
    assert store.where == "mongodb://h1:27017,h2/"


class Changes:
    """A listener that records notifications, and can be awaited."""

    def __init__(self) -> None:
        self.heard: list[str | None] = []
        self._event = asyncio.Event()

    def __call__(self, keys: Collection[str] | None) -> None:
        self.heard.extend([None] if keys is None else keys)
        self._event.set()

    async def until(self, key: str | None, times: int = 1) -> None:
        """Wait until *times* notifications of *key* have arrived."""
        async with asyncio.timeout(20):
            while self.heard.count(key) < times:
                self._event.clear()
                await self._event.wait()

    async def next(self, within_s: float) -> None:
        """Wait for any notification, for at most *within_s* seconds."""
        self._event.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), within_s)


class FakeDatabase:
    """A database that reports the server's time, or refuses to.

    Args:
        told_ms: the time in POSIX milliseconds; None for a server that refuses the command.
    """

    codec_options: CodecOptions[dict[str, Any]] = CodecOptions()

    def __init__(self, told_ms: int | None) -> None:
        self.told_ms = told_ms
        self.asked = 0

    async def command(self, name: str, **options: Any) -> dict[str, Any]:
        """Answer ``hello``."""
        assert name == "hello"
        self.asked += 1
        if self.told_ms is None:
            raise OperationFailure("no such command", 59)
        return {"localTime": DatetimeMS(self.told_ms)}


class Asked(CommandListener):
    """Records the commands that the driver sends about records."""

    def __init__(self, asked: list[dict[str, Any]]) -> None:
        self._asked = asked

    def started(self, event: CommandStartedEvent) -> None:
        self._asked.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Ignore it."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Ignore it."""


class Heard(CommandListener):
    """Records the names of the commands that the driver sends about records."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name not in ("hello", "endSessions", "createIndexes"):
            self._seen.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Ignore it."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Ignore it."""
