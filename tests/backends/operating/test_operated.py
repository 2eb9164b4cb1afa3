"""Inspecting and purging a cache: the same on every store, and effective in the next request of every process."""

from __future__ import annotations

import asyncio
import base64
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di import CachedSession, ConfigurationError, DynamoDBBackend, FileBackend, MongoDBBackend
from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.backends.redis import RedisBackend
from aiohttp_cache_di.backends.sqlite import SQLiteBackend
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.backends.store.inspecting import Purged
from aiohttp_cache_di.backends.wrap import upkeep
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.info import EntryInfo, info_of, short_id
from aiohttp_cache_di.response import CachedResponse
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from tests.backends.entries import make_entry
from tests.ministack import CREDENTIALS, MinistackServer
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend, ProofBackend

STORES = ["memory", "proof", "custom", "sqlite", "sqlite in memory", "files", "redis", "mongodb", "dynamodb"]
SHARED = ["sqlite", "files", "redis", "mongodb", "dynamodb"]
MakeBackend = Callable[..., CacheBackend]


class Serializer:
    """A serializer of a user's own."""

    def dumps(self, item: CachedResponse) -> str:
        return base64.b64encode(EntryCodec().encode(item.stored, item.stored.key)).decode()

    def loads(self, data: bytes) -> CachedResponse:
        stored = EntryCodec().decode(base64.b64decode(data))
        assert isinstance(stored, StoredResponse)
        return CachedResponse.from_stored(stored)


@pytest.fixture
def make_on(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], MakeBackend]:
    """Make backends on a store of the given kind; those of a test share one store, if it can be shared."""
    name = uuid.uuid4().hex

    def made(store: str) -> MakeBackend:
        if store == "redis":
            url: str = request.getfixturevalue("valkey").url
            return partial(RedisBackend, name, address=url)
        if store == "mongodb":
            url = request.getfixturevalue("secantus").url
            return partial(MongoDBBackend, name, host=url)
        if store == "dynamodb":
            server: MinistackServer = request.getfixturevalue("ministack")
            own: dict[str, Any] = {"endpoint_url": server.url, "storage_deadline": 5.0, **CREDENTIALS}
            return partial(DynamoDBBackend, name, create_if_not_exists=True, **own)
        local: dict[str, MakeBackend] = {
            "memory": CacheBackend,
            "proof": ProofBackend,
            "custom": CustomBackend,
            "sqlite": partial(SQLiteBackend, str(tmp_path / "cache")),
            "sqlite in memory": partial(SQLiteBackend, ":memory:"),
            "files": partial(FileBackend, str(tmp_path / "files")),
        }
        return local[store]

    return made


@pytest.fixture(params=STORES)
async def backend(request: pytest.FixtureRequest, make_on: Callable[[str], MakeBackend]) -> AsyncIterator[CacheBackend]:
    made = make_on(request.param)(cache_control=True)
    yield made
    await made.close()


def entry(key: str, url: str, **fields: Any) -> StoredResponse:
    return replace(make_entry(key), url=url, **fields)


async def fill(backend: CacheBackend) -> dict[str, StoredResponse]:
    now = time.time()
    entries = [
        entry("one", "http://a.test/one"),
        entry("one-head", "http://a.test/one", method="HEAD", body=b""),
        entry("one-of-a-tenant", "http://a.test/one", partition="tenant-7"),
        entry("page", "http://a.test/items?page=1&api_key=REDACTED", fresh_until=now - 10),
        entry("large", "http://a.test:8080/large", body=b"x" * 600_000),
        entry("old", "http://b.test/v1/old", created_at=now - 7200),
        entry(
            "tagged", "http://b.test/v2/x", raw_headers=((b"Surrogate-Key", b"a b"), (b"Cache-Groups", b'"c d", "e"'))
        ),
        entry("moved", "http://b.test/moved", status=301, raw_headers=((b"Location", b"/"),), history=("old",)),
    ]
    for each in entries:
        await backend.write(each)
    return {each.key: each for each in entries}


async def keys_of(backend: CacheBackend, **selectors: Any) -> list[str]:
    return sorted([info.key async for info in backend.entries(**selectors)])


async def test_all_that_is_stored_is_told_without_bodies(backend: CacheBackend) -> None:
    stored = await fill(backend)

    told = {info.key: info async for info in backend.entries()}

    assert told == {key: info_of(each) for key, each in stored.items()}
    assert told["one-of-a-tenant"].partition == short_id("tenant-7")
    assert "tenant-7" not in repr(told["one-of-a-tenant"])
    assert told["large"].body_bytes == 600_000
    assert told["tagged"].tags == ("c d", "e", "a", "b")
    usage = await backend.usage()
    assert usage.entries == len(stored)
    assert usage.bytes_in_use >= 600_000


SELECTED: list[tuple[dict[str, Any], list[str]]] = [
    ({"url": "http://a.test/one"}, ["one", "one-head", "one-of-a-tenant"]),
    ({"url": "HTTP://A.test:80/one#top"}, ["one", "one-head", "one-of-a-tenant"]),
    ({"url": "http://user:password@a.test/items?page=1&api_key=other"}, ["page"]),
    ({"url": "http://a.test/items?page=2"}, []),
    ({"host": "B.test"}, ["moved", "old", "tagged"]),
    ({"host": "a.test:8080"}, ["large"]),
    ({"match": "*.test/v?/*"}, ["old", "tagged"]),
    ({"match": ["a.test/items*", "b.test/moved"]}, ["moved", "page"]),
    ({"tags": "c d"}, ["tagged"]),
    ({"tags": ("nothing", "a")}, ["tagged"]),
    ({"partition": short_id("tenant-7")}, ["one-of-a-tenant"]),
    ({"partition": short_id("tenant-8")}, []),
    ({"partition": "-", "url": "http://a.test/one"}, ["one", "one-head"]),
    ({"older_than": "1h"}, ["old"]),
    ({"older_than": timedelta(hours=3)}, []),
    ({"larger_than": "500KiB"}, ["large"]),
    ({"expired": True}, ["page"]),
    ({"host": "b.test", "older_than": 60}, ["old"]),
    ({"expired": False, "host": "a.test", "larger_than": 0, "match": "*/one"}, ["one", "one-of-a-tenant"]),
]


async def test_entries_are_selected_and_purged_by_what_is_told_of_them(backend: CacheBackend) -> None:
    stored = await fill(backend)
    for selectors, expected in SELECTED:
        assert await keys_of(backend, **selectors) == sorted(expected), selectors
        size = sum(len(stored[key].body) for key in expected)
        assert await backend.purge(dry_run=True, **selectors) == Purged(len(expected), size), selectors
    assert await backend.purge(url="http://a.test/one") == Purged(3, 8)
    assert await backend.purge(match="b.test/v*", older_than=60) == Purged(1, 4)
    assert await keys_of(backend) == sorted(stored.keys() - {"one", "one-head", "one-of-a-tenant", "old"})
    assert (await backend.purge(all=True)).entries == 4
    assert await keys_of(backend) == []
    assert (await backend.usage()).entries == 0


async def test_what_is_purged_softly_is_validated_by_the_next_request(backend: CacheBackend, origin: Origin) -> None:
    def tagged(request: Received) -> bytes:
        if request.headers.get("If-None-Match") == '"v1"':
            return answer(status=304, headers={"ETag": '"v1"', "Content-Length": None})
        return answer("body", headers={"ETag": '"v1"'})

    url = origin.on("/x", tagged)
    other = origin.on("/y", answer("other"))
    async with CachedSession(cache=backend) as session:
        for asked in (url, other, url):
            async with session.get(asked) as response:
                await response.text()
        assert origin.hits == 2
        assert await backend.purge(url=url, soft=True) == Purged(1, 4)
        assert await keys_of(backend, expired=True) == await keys_of(backend, url=url)
        async with session.get(url) as response:
            assert await response.text() == "body"
            assert response.cache_status == "aiohttp-cache-di; fwd=stale; fwd-status=304; stored"
        async with session.get(other) as response:
            assert response.from_cache
    assert origin.hits == 3


@pytest.mark.parametrize("store", SHARED)
async def test_another_with_copies_in_memory_sees_a_purge_with_its_next_request(
    make_on: Callable[[str], MakeBackend], origin: Origin, store: str
) -> None:
    url = origin.on("/x", lambda request: answer(str(request.number)))
    make = make_on(store)
    ours, theirs = make(), make()
    try:
        async with CachedSession(cache=theirs) as session:
            for _ in range(3):
                async with session.get(url) as response:
                    assert await response.text() == "1"
            await theirs.settle()
            assert (await ours.purge(host=url.split("/")[2])).entries == 1
            for _ in range(200 if store in ("redis", "mongodb") else 1):  # they notify over another connection
                async with session.get(url) as response:
                    if await response.text() == "2":
                        break
                await asyncio.sleep(0.01)
            else:
                pytest.fail("the purge is not seen")
    finally:
        await ours.close()
        await theirs.close()


@pytest.mark.parametrize("store", ["memory", "sqlite", "redis"])
async def test_items_of_a_users_serializer_are_told_of_too(make_on: Callable[[str], MakeBackend], store: str) -> None:
    backend = make_on(store)(serializer=Serializer())
    try:
        stored = await fill(backend)
        assert {info.key: info async for info in backend.entries(host="a.test")} == {
            key: info_of(each) for key, each in stored.items() if "a.test/" in each.url
        }
        assert (await backend.purge(host="a.test", soft=True)).entries == 3
        assert len(await keys_of(backend, expired=True)) == 4
    finally:
        await backend.close()


@pytest.mark.parametrize("store", ["sqlite", "files", "redis"])
async def test_a_large_body_is_told_of_and_made_stale_and_stays_whole(
    make_on: Callable[[str], MakeBackend], origin: Origin, store: str
) -> None:
    body = b"0123456789abcdef" * 100_000

    def script(request: Received) -> bytes:
        if "If-None-Match" in request.headers:
            return answer(status=304, headers={"ETag": '"v1"', "Content-Length": None})
        return answer(body, headers={"ETag": '"v1"'})

    url = origin.on("/large", script)
    backend = make_on(store)(cache_control=True)
    try:
        async with CachedSession(cache=backend) as session:
            async with session.get(url) as response:
                assert await response.read() == body
            for _ in range(1000):  # a file is completed after its last byte was read
                if "; stored" in response.cache_status:
                    break
                await asyncio.sleep(0.01)
            assert [(info.url, info.body_bytes) async for info in backend.entries()] == [(url, len(body))]
            assert await backend.purge(larger_than="1MiB", soft=True) == Purged(1, len(body))
            async with session.get(url) as response:
                assert await response.read() == body
                assert "fwd=stale; fwd-status=304" in response.cache_status
            assert [(info.url, info.body_bytes) async for info in backend.entries()] == [(url, len(body))]
            assert (await backend.explain("GET", url)).decision == "Serve"
    finally:
        await backend.close()


async def test_what_is_on_its_way_is_told_of_and_purged(backend: CacheBackend, origin: Origin) -> None:
    url = origin.on("/x", lambda request: answer(str(request.number)))
    async with CachedSession(cache=backend) as session:
        async with session.get(url) as response:
            await response.text()
        assert [info.url async for info in backend.entries()] == [url]
        await backend.purge(all=True)
        async with session.get(url) as response:
            assert await response.text() == "2"


async def test_what_is_told_has_no_secret(backend: CacheBackend, origin: Origin) -> None:
    origin.on("/x", answer("body", headers={"Vary": "Accept-Language"}))
    secret = "hunter2"
    async with CachedSession(cache=backend) as session:
        url = f"{origin.url}/x?token={secret}"
        headers = {"Authorization": f"Bearer {secret}", "Accept-Language": "de"}
        async with session.get(url, headers=headers) as response:
            await response.text()
        (info,) = [info async for info in backend.entries()]
    assert secret not in repr(info)
    assert info.variant.startswith("accept-language ")
    assert len(info.partition) == 8


WRONG: list[dict[str, Any]] = [
    {},
    {"url": "/no/host"},
    {"url": "http://[broken"},
    {"url": 3},
    {"host": ""},
    {"host": "https://a.test/items"},
    {"host": "*.a.test"},
    {"host": 7},
    {"all": True, "host": "a.test"},
    {"all": True, "expired": True, "soft": True},
    {"url": "ftp://a.test/"},
    {"match": "/v1/*"},
    {"match": ["a.test/*", "^https?://a.test/"]},
    {"older_than": math.inf},
    {"older_than": math.nan},
    {"larger_than": True},
    {"match": []},
    {"match": "[z-a]"},
    {"tags": 7},
    {"partition": ""},
    {"partition": "tenant-7"},
    {"partition": 7},
    {"older_than": "soon"},
    {"older_than": -1},
    {"larger_than": "big"},
    {"all": "false"},
    {"all": True, "soft": "no"},
    {"all": True, "dry_run": None},
    {"expired": "yes"},
    {"match": b"a.test/*"},
    {"tags": "t", "count_within_s": "5s"},
    {"tags": "t", "count_within_s": math.nan},
]


@pytest.mark.parametrize("selectors", WRONG, ids=str)
async def test_a_selection_that_is_none_is_refused_and_nothing_goes(selectors: dict[str, Any]) -> None:
    backend = CacheBackend()
    await fill(backend)
    with pytest.raises(ConfigurationError):
        await backend.purge(**selectors)
    assert (await backend.usage()).entries == 8


async def test_a_host_is_found_in_each_of_the_forms_that_it_has() -> None:
    backend = CacheBackend()
    for key, url in (("aa", "https://xn--mller-kva.test/"), ("bb", "http://b.test:8080/"), ("cc", "http://[::1]/c")):
        await backend.write(entry(key, url))
    for host, keys in (
        ("müller.test", ["aa"]),
        ("XN--mller-kva.Test", ["aa"]),
        ("müller.test:443", ["aa"]),
        ("müller.test:80", []),
        ("b.test:8080", ["bb"]),
        ("b.test", []),
        ("::1", ["cc"]),
        ("[::1]:80", ["cc"]),
    ):
        assert await keys_of(backend, host=host) == keys, host


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_what_is_written_in_several_ways_is_selected_by_each(
    make_on: Callable[[str], MakeBackend], store: str
) -> None:
    urls = {
        "aa": "https://xn--mller-kva.test/stra%C3%9Fe?q=1",
        "bb": "https://a.test/caf%c3%a9/%5Bx%5D",
        "cc": "https://a.test/semi;v=1;token=REDACTED/x",
        "dd": "https://a.test/a%20b",
    }
    selections: list[tuple[dict[str, Any], list[str]]] = [
        ({"url": "https://müller.test/straße?q=1"}, ["aa"]),
        ({"url": "https://a.test/semi;v=1;token=secret/x"}, ["cc"]),
        ({"url": "https://a.test/caf%c3%a9/%5Bx%5D"}, ["bb"]),
        ({"url": "https://a.test/a b"}, ["dd"]),
        ({"match": "müller.test/straße*"}, ["aa"]),
        ({"match": "xn--mller-kva.test/stra%C3%9Fe"}, ["aa"]),
        ({"match": "a.test/café/[[]x]"}, ["bb"]),
        ({"match": "a.test/caf?/*"}, ["bb"]),
        ({"match": "a.test/a b"}, ["dd"]),
    ]
    backend = make_on(store)(cache_control=True)
    for key, url in urls.items():
        await backend.write(entry(key, url))
    for selectors, keys in selections:
        assert await keys_of(backend, **selectors) == keys, selectors
        assert (await backend.purge(dry_run=True, **selectors)).entries == len(keys)
    await backend.close()


async def test_a_misspelt_selector_is_a_type_error() -> None:
    wrong: dict[str, Any] = {"hots": "a.test"}
    with pytest.raises(TypeError, match="hots"):
        await CacheBackend().purge(all=True, **wrong)


async def test_a_delete_of_the_users_hears_of_each_key_that_is_purged() -> None:
    class Listening(CacheBackend):
        heard: list[str]

        async def delete(self, key: str) -> None:
            self.heard.append(key)
            await super().delete(key)

    backend = Listening()
    backend.heard = []
    await fill(backend)
    await backend.purge(host="b.test")
    assert sorted(backend.heard) == ["moved", "old", "tagged"]


async def test_a_selection_in_a_file_takes_less_than_a_walk_over_the_bodies(tmp_path: Path) -> None:
    backend = SQLiteBackend(str(tmp_path / "cache"), max_bytes=None)
    store = backend.stack.store
    try:
        for first in range(0, 2048, 128):
            numbers = range(first, first + 128)
            entries = [entry(f"{n:040x}", f"http://h{n % 128}.test/{n}", body=b"x" * 10_000) for n in numbers]
            await store.put([Record(each.key, each, math.inf) for each in entries])
        begun = time.process_time()
        assert (await backend.purge(host="h7.test", dry_run=True)).entries == 16
        selected = time.process_time()
        assert len([row async for page in store.pages(items=True) for row in page]) == 2048
        assert selected - begun < time.process_time() - selected
        assert (await backend.purge(host="h7.test")).entries == 16
        assert (await backend.usage()).entries == 2032
    finally:
        await backend.close()


@pytest.mark.parametrize("store", ["sqlite", "memory"])
async def test_what_is_used_has_no_records_of_purges_among_its_entries_however_many_they_are(
    store: str, make_on: Callable[[str], MakeBackend]
) -> None:
    backend = make_on(store)(max_bytes=None)
    plain = entry("", "http://a.test/")
    try:
        for first in range(0, 10_240, 128):
            keys = [f"{n:040x}" for n in range(first, first + 128)]
            await backend.stack.store.put([Record(key, replace(plain, key=key), math.inf) for key in keys])
        await upkeep.purge_tags(backend.stack, ["red", "green", "blue"])
        assert ((await backend.usage()).entries, await backend.responses.size()) == (10_240, 10_240)
    finally:
        await backend.close()


def test_entry_info_is_what_the_documentation_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for name in EntryInfo.__struct_fields__:
        assert f"`{name}`" in page
