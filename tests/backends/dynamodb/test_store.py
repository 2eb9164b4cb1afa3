"""DynamoDBStore against a real server."""

from __future__ import annotations

import asyncio
import base64
import importlib
import math
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.backends.dynamodb import DynamoDBBackend, batches
from aiohttp_cache_di.backends.dynamodb.client import error_code
from aiohttp_cache_di.backends.dynamodb.items import Layout
from aiohttp_cache_di.backends.dynamodb.store import DynamoDBStore
from aiohttp_cache_di.backends.store import UNREADABLE, Lease
from aiohttp_cache_di.backends.wrap.chunks import ChunkedStore
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.errors import ConfigurationError, StorageError
from tests.backends.dynamodb.relay import Relay
from tests.backends.remote_contract import MakeStore, RemoteContract, entry, looked, read, write
from tests.blocking import allowed_to_block
from tests.ministack import CREDENTIALS, MinistackServer, create_client


def make_store(
    server: MinistackServer | Relay,
    table: str,
    codec: EntryCodec | None = None,
    *,
    namespace: str = "responses",
    **options: Any,
) -> DynamoDBStore:
    """Make a store in this table, which is created if necessary."""
    return DynamoDBStore(
        Layout(table, namespace, "k", "v"),
        codec=codec or EntryCodec(),
        create=True,
        options={"endpoint_url": server.url, **CREDENTIALS},
        **options,
    )


@pytest.fixture
async def relay(ministack: MinistackServer) -> AsyncIterator[Relay]:
    """A relay between store and server."""
    async with Relay(ministack.url) as running:
        yield running


class TestContract(RemoteContract):
    """The contract of every store on a server."""

    @pytest.fixture
    def make(self, ministack: MinistackServer) -> MakeStore:
        self.server, self.table = ministack, uuid.uuid4().hex
        return partial(make_store, ministack, self.table)

    async def meddle(self, key: str, change: Callable[[bytes], Any]) -> None:
        at = {"k": {"S": f"responses:{key}"}}
        item = self.server.call("GetItem", TableName=self.table, Key=at)["Item"]
        value = change(base64.b64decode(item["v"]["B"]))
        as_text = {str: "S", int: "N"}
        if isinstance(value, bytes):
            item["v"] = {"B": base64.b64encode(value).decode()}
        else:
            item["v"] = {"NULL": True} if value is None else {as_text[type(value)]: str(value)}
        self.server.call("PutItem", TableName=self.table, Item=item)


# ---- the table


async def test_a_table_that_is_made_has_the_key_alone_and_drops_what_has_expired(ministack: MinistackServer) -> None:
    table = uuid.uuid4().hex
    stores = [make_store(ministack, table) for _ in range(3)]
    await asyncio.gather(*(store.get(["k"]) for store in stores))
    described = ministack.call("DescribeTable", TableName=table)["Table"]
    assert described["KeySchema"] == [{"AttributeName": "k", "KeyType": "HASH"}]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    ttl = ministack.call("DescribeTimeToLive", TableName=table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    for store in stores:
        await store.close()


async def test_a_table_that_is_made_has_its_expiry_although_describing_it_fails_at_first(
    relay: Relay, ministack: MinistackServer
) -> None:
    table = uuid.uuid4().hex
    store = make_store(relay, table)
    relay.holds = "CreateTable"
    first = asyncio.create_task(store.get(["k"]))
    await relay.holding.wait()
    relay.unknown = frozenset({"DescribeTable"})
    relay.released.set()
    with pytest.raises(Exception, match="DescribeTable"):
        await first
    relay.unknown = frozenset()
    await store.get(["k"])
    ttl = ministack.call("DescribeTimeToLive", TableName=table)["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "ENABLED"
    await store.close()


async def test_a_server_without_expiry_keeps_what_has_expired_and_it_is_dropped_when_asked_for(
    relay: Relay, ministack: MinistackServer, caplog: pytest.LogCaptureFixture
) -> None:
    relay.unknown = frozenset({"UpdateTimeToLive"})
    store = make_store(relay, table := uuid.uuid4().hex)
    now = time.time()
    assert await store.put([entry("old", until=now - 1), entry("new", until=now + 60), entry("ever", until=math.inf)])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no expiry could be switched on (UnknownOperationException)" in caplog.text
    assert await store.get(["old"]) == [None]
    assert ministack.call("Scan", TableName=table)["Count"] == 3
    assert await store.delete_expired(now) == 1
    assert ministack.call("Scan", TableName=table)["Count"] == 2
    assert await store.delete_expired(now + 100) == 1
    assert await store.get(["new"]) == [None]
    assert (await store.get(["ever"]))[0] is not None
    await store.close()


async def test_what_has_taken_the_place_of_an_expired_record_is_not_dropped(
    ministack: MinistackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = make_store(ministack, uuid.uuid4().hex), time.time()
    await store.put([entry("k", until=now - 1)])
    changing = Layout.changing

    def late(layout: Layout, name: str, condition: str, values: dict[str, Any]) -> dict[str, Any]:
        """The deletion, as if the item had been replaced since it was found."""
        return changing(layout, name, condition, {**values, ":now": {"N": f"{now - 2:.3f}"}})

    monkeypatch.setattr(Layout, "changing", late)
    assert await store.delete_expired(now) == 0
    monkeypatch.undo()
    assert await store.delete_expired(now) == 1
    await store.close()


async def test_a_table_is_made_only_if_asked_for(ministack: MinistackServer) -> None:
    options = {"endpoint_url": ministack.url, **CREDENTIALS}
    store = DynamoDBStore(Layout(table := uuid.uuid4().hex, "responses", "k", "v"), codec=EntryCodec(), options=options)
    for call in (store.get(["k"]), store.put([entry("k")]), store.acquire("k", 5)):
        with pytest.raises(Exception, match="ResourceNotFoundException"):
            await call
    await store.close()
    with pytest.raises(RuntimeError, match="ResourceNotFoundException"):
        ministack.call("DescribeTable", TableName=table)


async def test_a_missing_table_is_named_with_the_way_to_get_it(ministack: MinistackServer) -> None:
    name = uuid.uuid4().hex
    backend = DynamoDBBackend(name, endpoint_url=ministack.url, **CREDENTIALS)
    told = await backend.ping()
    await backend.close()

    assert f"there is no table {name}; create it, or set create_if_not_exists (DYNAMODB__CREATE_TABLE" in told.reason


async def test_a_table_with_another_key_is_an_error_that_names_it(ministack: MinistackServer) -> None:
    ministack.call(
        "CreateTable",
        TableName=(table := uuid.uuid4().hex),
        KeySchema=[{"AttributeName": "other", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "other", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    store = make_store(ministack, table)
    with pytest.raises(StorageError, match="has to be 'k' alone"):
        await store.get(["k"])
    await store.close()


async def test_an_item_tells_the_server_when_to_drop_it_and_a_lease_on_a_record_does_not(
    ministack: MinistackServer,
) -> None:
    store = make_store(ministack, table := uuid.uuid4().hex)
    until = time.time() + 1000.25
    await write(store, entry("soon", until=until), entry("never"))
    for key in ("never", "soon", "empty"):
        assert await store.acquire(key, 5)
    items = {item["k"]["S"]: item for item in ministack.call("Scan", TableName=table)["Items"]}
    assert float(items["responses:soon"]["ttl"]["N"]) == math.ceil(until)
    assert float(items["responses:soon"]["until"]["N"]) == pytest.approx(until, abs=0.001)
    assert float(items["responses:never"]["ttl"]["N"]) > time.time() + 1e9
    assert until - 1000.25 + 3 < float(items["responses:empty"]["ttl"]["N"]) < time.time() + 7
    for key in ("never", "soon", "empty"):
        await store.release(key)
    left = {item["k"]["S"]: set(item) for item in ministack.call("Scan", TableName=table)["Items"]}
    record = {"k", "v", "i", "f", "ttl"}
    assert left == {"responses:soon": record | {"until"}, "responses:never": record}
    await store.close()


async def test_caches_that_share_a_table_do_not_see_each_other_and_nothing_else_is_cleared(
    ministack: MinistackServer,
) -> None:
    table = uuid.uuid4().hex
    one, two = (make_store(ministack, table, namespace=name) for name in ("one", "two"))
    await write(one, entry("k", b"one"))
    await write(two, entry("k", b"two"))
    ministack.call("PutItem", TableName=table, Item={"k": {"S": "another program's"}})
    assert (await read(one, "k")).body == b"one"
    await one.clear()
    assert await read(one, "k") is None
    assert (await read(two, "k")).body == b"two"
    assert len(ministack.call("Scan", TableName=table)["Items"]) == 2
    await one.close()
    await two.close()


async def test_items_of_an_earlier_library_are_unreadable_and_are_overwritten_or_cleared(
    ministack: MinistackServer,
) -> None:
    store = make_store(ministack, table := uuid.uuid4().hex)
    await store.get(["k"])
    for key in ("k", "j"):
        ministack.call("PutItem", TableName=table, Item={"k": {"S": f"responses:{key}"}, "v": {"B": "gASVAA=="}})
    assert await read(store, "k") is UNREADABLE
    assert await store.acquire("k", 5)
    await write(store, replace(entry("k"), leased=True))
    assert (await read(store, "k")).body == b"body"
    await store.clear()
    assert ministack.call("Scan", TableName=table)["Items"] == []
    await store.close()


# ---- calls


async def test_reads_are_consistent_after_a_lease_a_write_or_a_deletion_alone(relay: Relay) -> None:
    store, another = make_store(relay, table := uuid.uuid4().hex), make_store(relay, table)
    keys = [f"k{n}" for n in range(20)]
    await store.get(keys)
    await store.delete(["k1"])
    await store.acquire("k2", 5)
    await write(store, entry("k3"))
    relay.asked.clear()
    await store.get(keys)
    reads = sorted((sorted(name for name in call.names), call.is_consistent) for call in relay.asked)
    assert reads[1] == (["responses:k1", "responses:k2", "responses:k3"], True)
    assert len(reads[0][0]) == 17
    assert not reads[0][1]
    await write(another, entry("k4"))
    await store.clear()
    relay.asked.clear()
    await store.get(keys)
    assert {name for call in relay.asked if call.is_consistent for name in call.names} == {
        f"responses:k{n}" for n in range(1, 5)
    }
    await store.close()
    await another.close()


async def test_every_read_is_consistent_if_asked_for(relay: Relay) -> None:
    store = make_store(relay, uuid.uuid4().hex, consistent_reads=True)
    await store.get(["a", "b"])
    assert [call.is_consistent for call in relay.asked if call.operation == "BatchGetItem"] == [True]
    await store.close()


async def test_a_batch_is_as_few_calls_as_dynamodb_allows(relay: Relay) -> None:
    store = make_store(relay, uuid.uuid4().hex)
    await store.get(["k"])
    relay.asked.clear()
    keys = [f"k{n}" for n in range(100)]
    await write(store, *(entry(key) for key in keys), entry("k0", b"a later one"))
    await store.get([*keys, *keys])
    await store.delete(keys)
    counted = Counter((call.operation, len(call.names)) for call in relay.asked)
    assert counted == {("BatchWriteItem", 25): 8, ("BatchGetItem", 100): 1}
    await store.close()


async def test_a_miss_is_a_look_that_leases_and_a_write(relay: Relay) -> None:
    store = make_store(relay, uuid.uuid4().hex)
    await store.get(["k"])
    relay.asked.clear()
    await store.get_or_acquire("k", 5)
    await write(store, replace(entry("k"), leased=True))
    await store.release("k")
    assert [call.operation for call in relay.asked] == ["UpdateItem", "BatchWriteItem"]
    relay.asked.clear()
    await store.get(["j"])
    await store.acquire("j", 5)
    await write(store, replace(entry("j"), leased=True))
    assert await looked(store, "j") == b"body"
    assert [call.operation for call in relay.asked] == ["GetItem", "UpdateItem", "BatchWriteItem", "UpdateItem"]
    await store.close()


async def test_a_server_that_does_not_tell_what_has_failed_a_condition_is_asked_for_it(relay: Relay) -> None:
    relay.tells = False
    one, two = make_store(relay, table := uuid.uuid4().hex), make_store(relay, table)
    assert await one.get_or_acquire("k", 5) is Lease.GRANTED
    assert await two.get_or_acquire("k", 5) is Lease.REFUSED
    await write(one, replace(entry("k"), leased=True))
    assert await looked(two, "k") == b"body"
    assert await one.acquire("k", 5)
    assert not await two.acquire("k", 5)
    await one.release("k")
    assert await two.acquire("k", 5), "the lease on a record is given back, though the server has told of none"
    await one.close()
    await two.close()


async def test_who_may_not_describe_or_create_a_table_uses_the_one_that_is_there(
    relay: Relay, ministack: MinistackServer, caplog: pytest.LogCaptureFixture
) -> None:
    owner = make_store(ministack, table := uuid.uuid4().hex)
    await write(owner, entry("k"))
    relay.forbidden = frozenset({"DescribeTable", "CreateTable"})
    store, lost = make_store(relay, table), make_store(relay, uuid.uuid4().hex)
    assert await looked(store, "k") == b"body"
    for _ in range(2):
        with pytest.raises(Exception, match="ResourceNotFoundException"):
            await lost.get(["k"])
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2, "one for each table"
    for each in (owner, store, lost):
        await each.close()


async def test_who_may_not_write_finds_what_is_there_and_asks_for_no_lease_with_a_look(relay: Relay) -> None:
    store = make_store(relay, uuid.uuid4().hex)
    await write(store, entry("k"))
    relay.unknown = frozenset({"UpdateItem"})
    relay.asked.clear()
    for _ in range(2):
        assert await looked(store, "k") == b"body"
        assert await store.get_or_acquire("none", 5) is None
    assert [call.operation for call in relay.asked] == ["GetItem"] * 4
    relay.unknown = frozenset()
    (await store._loops.here()).looks_alone_until = 0.0
    assert await store.get_or_acquire("none", 5) is Lease.GRANTED
    await store.close()


async def test_a_look_finds_a_table_that_is_gone_and_has_it_made_again(ministack: MinistackServer) -> None:
    store = make_store(ministack, table := uuid.uuid4().hex)
    await write(store, entry("k"))
    ministack.call("DeleteTable", TableName=table)
    assert await store.get_or_acquire("k", 5) is None
    await write(store, entry("k"))
    assert await looked(store, "k") == b"body"
    await store.close()


async def test_a_write_finds_a_table_that_is_gone_and_has_it_made_again(ministack: MinistackServer) -> None:
    store = make_store(ministack, table := uuid.uuid4().hex)
    await write(store, entry("k"))
    ministack.call("DeleteTable", TableName=table)
    await write(store, entry("j"))
    assert await looked(store, "j") == b"body"
    await store.close()


async def test_a_table_is_made_again_with_its_expiry_though_the_read_that_missed_it_is_cancelled(
    relay: Relay, ministack: MinistackServer
) -> None:
    """The storage deadline cancels it: AWS needs seconds to make a table."""
    store = make_store(relay, table := uuid.uuid4().hex)
    await write(store, entry("k"))
    ministack.call("DeleteTable", TableName=table)
    relay.holds = "CreateTable"
    cancelled = asyncio.create_task(store.get(["k"]))
    await relay.holding.wait()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    later = asyncio.create_task(store.get(["k"]))
    await asyncio.sleep(0.1)  # it finds no table either
    relay.released.set()
    assert await later == [None]
    answer = ministack.call("DescribeTimeToLive", TableName=table)
    assert answer["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    await store.close()


async def test_a_hit_is_one_read_and_one_of_a_large_entry_two(relay: Relay) -> None:
    table = uuid.uuid4().hex
    writer, store = make_store(relay, table), make_store(relay, table)
    await write(ChunkedStore(writer, EntryCodec()), entry("small"), entry("large", bytes(5_000_000)))
    await writer.close()
    whole = ChunkedStore(store, EntryCodec())
    await store.kinds(["small"])
    relay.asked.clear()
    assert await read(whole, "small") is not None
    assert (await read(whole, "large")).body == bytes(5_000_000)
    asked = [(call.operation, len(call.names), call.is_consistent) for call in relay.asked]
    assert asked == [("GetItem", 1, False), ("GetItem", 1, False), ("BatchGetItem", 13, False)]
    await store.close()


async def test_what_is_left_unprocessed_is_asked_for_again(relay: Relay) -> None:
    store = make_store(relay, uuid.uuid4().hex)
    await store.get(["k"])
    relay.leaves = 0.6
    keys = [f"k{n}" for n in range(50)]
    await write(store, *(entry(key) for key in keys))
    relay.asked.clear()
    assert None not in await store.get(keys)
    assert len(relay.asked) > 1
    assert {call.is_consistent for call in relay.asked} == {True}
    await store.delete(keys)
    assert set(await store.get(keys)) == {None}
    await store.close()


async def test_a_server_that_processes_nothing_is_an_error_in_the_end(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PAUSE_S", 0.001)
    store = make_store(relay, uuid.uuid4().hex)
    await write(store, entry("k"))
    relay.leaves = 1.0
    for call in (store.get(["i", "j"]), store.put([entry("k")]), store.delete(["k"])):
        with pytest.raises(StorageError, match="throttled"):
            await call
    await store.close()


async def test_a_group_that_fails_takes_no_other_with_it(relay: Relay) -> None:
    store = make_store(relay, uuid.uuid4().hex)
    await store.get(["k"])
    relay.refuses = "responses:k30"
    results = await store.put([entry(f"k{n}") for n in range(50)])
    assert [isinstance(result, StorageError) for result in results] == [False] * 25 + [True] * 25
    with pytest.raises(StorageError, match="AccessDeniedException"):
        await store.delete([f"k{n}" for n in range(50)])
    with pytest.raises(Exception, match="AccessDeniedException"):
        await store.put([entry("k30")])
    await store.close()


# ---- clients


async def test_a_context_that_is_handed_in_serves_one_loop_once(ministack: MinistackServer) -> None:
    context = create_client(ministack.url)
    layout = Layout(uuid.uuid4().hex, "responses", "k", "v")
    store = DynamoDBStore(layout, codec=EntryCodec(), context=context, create=True)
    with allowed_to_block("the context is the user's, and reads its files when it is entered"):
        await write(store, entry("k"))

    def elsewhere() -> None:
        with pytest.raises(StorageError, match="serves one event loop"):
            asyncio.run(read(store, "k"))

    await asyncio.to_thread(elsewhere)
    assert await read(store, "k") is not None
    await store.close()
    with pytest.raises(StorageError, match="serves one event loop"):
        await read(store, "k")


async def test_a_client_that_is_handed_in_stays_open(ministack: MinistackServer) -> None:
    layout = Layout(table := uuid.uuid4().hex, "responses", "k", "v")
    async with create_client(ministack.url) as client:
        store = DynamoDBStore(layout, codec=EntryCodec(), context=client, create=True)
        await write(store, entry("k"))
        await store.close()
        assert await read(store, "k") is not None
        await store.close()
        assert (await client.scan(TableName=table))["Count"] == 1


def test_credentials_come_from_the_drivers_own_chain(
    ministack: MinistackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text("[cache]\naws_access_key_id=test\naws_secret_access_key=test\n")
    (tmp_path / "config").write_text("[profile cache]\nregion=eu-west-1\n")
    for name, value in {"SHARED_CREDENTIALS_FILE": "credentials", "CONFIG_FILE": "config"}.items():
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / value))
    monkeypatch.setenv("AWS_PROFILE", "cache")

    async def use() -> None:
        await write(store, entry("k"))
        assert await read(store, "k") is not None
        await store.close()

    layout = Layout(uuid.uuid4().hex, "responses", "k", "v")
    store = DynamoDBStore(layout, codec=EntryCodec(), create=True, options={"endpoint_url": ministack.url})
    asyncio.run(use())


# ---- faults


async def test_a_dead_server_is_an_error_and_one_that_is_back_is_used_again(own_ministack: MinistackServer) -> None:
    store = make_store(own_ministack, uuid.uuid4().hex)
    await write(store, entry("k"))
    own_ministack.kill()
    for call in (store.get(["k"]), store.put([entry("j")]), store.delete(["k"]), store.acquire("k", 5), store.clear()):
        with pytest.raises(Exception, match="Could not connect"):
            await call
    own_ministack.start()
    assert await store.get(["k"]) == [None], "its tables were in its memory, and are made again"
    await write(store, entry("k"))
    assert await read(store, "k") is not None
    await store.close()


async def test_a_frozen_server_holds_up_neither_a_caller_that_leaves_nor_the_closing(
    own_ministack: MinistackServer,
) -> None:
    store = make_store(own_ministack, uuid.uuid4().hex)
    await write(store, entry("k"))
    with own_ministack.frozen():
        for call in (store.get(["k"]), store.acquire("k", 5)):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.1)
        async with asyncio.timeout(20):  # one or two seconds, more on a busy machine
            await store.close()


# ---- options


def test_an_error_has_a_code_only_if_the_server_has_answered() -> None:
    of_driver: Any = importlib.import_module("botocore.exceptions")
    answered = of_driver.ClientError({"Error": {"Code": "ThrottlingException"}}, "GetItem")
    assert error_code(answered) == "ThrottlingException"
    assert error_code(of_driver.ReadTimeoutError(endpoint_url="http://x")) == ""
    assert error_code(of_driver.NoRegionError()) == ""


def test_a_context_that_gives_no_client_is_refused() -> None:
    layout = Layout("table", "responses", "k", "v")
    with pytest.raises(ConfigurationError, match="context has to give a client"):
        DynamoDBStore(layout, codec=EntryCodec(), context=object())


@pytest.mark.parametrize(("key", "value"), [("k", "k"), ("", "v"), ("k", ""), ("ttl", "v"), ("k", "o")])
def test_names_of_attributes_that_would_clash_are_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match="key_attr_name"):
        Layout("table", "responses", key, value)


@pytest.mark.parametrize("table", ["", "ab", "my cache", "x" * 256])
def test_a_name_that_is_none_of_a_table_is_refused(table: str) -> None:
    with pytest.raises(ConfigurationError, match="not the name of a table"):
        Layout(table, "responses", "k", "v")


def test_a_table_may_be_named_by_its_arn() -> None:
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/cache"
    assert Layout(arn, "responses", "k", "v").table == arn


def test_what_a_client_is_made_from_was_read_when_the_room_was_imported() -> None:
    code = """
import asyncio, builtins, io
from aiohttp_cache_di import DynamoDBBackend
opened, real = [], io.open
def noting(file, *args, **kwargs):
    opened.append(str(file))
    return real(file, *args, **kwargs)
builtins.open = io.open = noting
async def use():
    options = {"region_name": "eu-west-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    backend = DynamoDBBackend("table", endpoint_url="http://127.0.0.1:1", **options)
    await backend.stack.store._loops.here()
    await backend.close()
asyncio.run(use())
print([name for name in opened if ".json" in name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n", done.stdout


async def test_attributes_may_have_other_names(ministack: MinistackServer) -> None:
    layout = Layout(table := uuid.uuid4().hex, "responses", "Key", "value")  # both are reserved words
    options = {"endpoint_url": ministack.url, **CREDENTIALS}
    store = DynamoDBStore(layout, codec=EntryCodec(), create=True, options=options)
    assert await store.acquire("k", 5)
    await write(store, replace(entry("k"), leased=True))
    assert await read(store, "k") is not None
    assert [[row.key for row in page] async for page in store.pages(items=True)] == [["k"]]
    assert ministack.call("Scan", TableName=table)["Items"][0]["Key"] == {"S": "responses:k"}
    await store.close()
