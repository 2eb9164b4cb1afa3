"""A backend of a user's own: the documentation's example with a real storage, and methods that a user overrides."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from aiohttp_cache_di import CachedResponse, CachedSession
from aiohttp_cache_di.backends import BaseCache, BaseStorage, CacheActions, CacheBackend, ResponseOrKey
from aiohttp_cache_di.backends.store import Record
from aiohttp_cache_di.testing import CacheClock
from tests.backends.entries import make_entry
from tests.origin import Origin, Received, answer
from tests.storages import CustomBackend, CustomStorage


def numbered(request: Received) -> bytes:
    """Answer with the number of the request."""
    return answer(str(request.number))


async def fetch(session: CachedSession, url: str, **options: Any) -> tuple[bool, str]:
    """Whether the response was a hit, and its text."""
    async with session.get(url, **options) as response:
        return response.from_cache, await response.text()


class FolderStorage(BaseStorage):
    """Keeps each item in a file of its own; written according to the documentation alone."""

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        folder.mkdir(parents=True)

    async def contains(self, key: str) -> bool:
        """Check if a key is stored in the cache."""
        return (self.folder / key).exists()

    async def clear(self) -> None:
        """Delete all items from the cache."""
        for path in self.folder.iterdir():
            path.unlink()

    async def delete(self, key: str) -> None:
        """Delete an item from the cache."""
        (self.folder / key).unlink(missing_ok=True)

    async def keys(self) -> AsyncIterator[str]:
        """Get all keys stored in the cache."""
        for path in self.folder.iterdir():
            yield path.name

    async def read(self, key: str) -> ResponseOrKey:
        """Read an item from the cache."""
        path = self.folder / key
        return self.deserialize(path.read_bytes()) if path.exists() else None

    async def size(self) -> int:
        """Get the number of items in the cache."""
        return sum(1 for _ in self.folder.iterdir())

    async def values(self) -> AsyncIterator[ResponseOrKey]:
        """Get all values stored in the cache."""
        for path in self.folder.iterdir():
            yield self.deserialize(path.read_bytes())

    async def write(self, key: str, item: ResponseOrKey) -> None:
        """Write an item to the cache."""
        serialized = self.serialize(item)
        assert serialized is not None
        (self.folder / key).write_bytes(serialized)


class FolderBackend(CacheBackend):
    """Wrapper for higher-level cache operations: only specifies which storage classes to use."""

    def __init__(self, folder: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.redirects = FolderStorage(folder / "redirects")
        self.responses = FolderStorage(folder / "responses")


class TestTheExampleOfTheDocumentation:
    async def test_it_caches_and_survives_the_session(self, origin: Origin, tmp_path: Path) -> None:
        url = origin.on("/", numbered)
        origin.on("/old", answer(status=301, headers={"Location": "/"}))
        backend = FolderBackend(tmp_path, expire_after=60)
        async with CachedSession(cache=backend) as session:
            assert [await fetch(session, f"{origin.url}/old") for _ in range(2)] == [(False, "1"), (True, "1")]
        async with CachedSession(cache=backend) as session:
            assert await fetch(session, url) == (True, "1")
            assert {found async for found in backend.get_urls()} == {url, f"{origin.url}/old"}
            await backend.delete_url(url)
            assert await fetch(session, url) == (False, "2")
            await backend.clear()
            assert await fetch(session, url) == (False, "3")

    async def test_expired_entries_are_deleted(self, origin: Origin, tmp_path: Path) -> None:
        backend = FolderBackend(tmp_path, expire_after=60)
        with CacheClock() as clock:
            async with CachedSession(cache=backend) as session:
                await fetch(session, origin.on("/", numbered))
                await backend.settle()
                clock.advance("2m")
                assert await backend.responses.size() == 1
                await session.delete_expired_responses()
                assert await backend.responses.size() == 0

    async def test_a_file_that_is_none_of_ours_is_a_miss(self, origin: Origin, tmp_path: Path) -> None:
        backend, url = FolderBackend(tmp_path), origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            await fetch(session, url)
            await backend.settle()
            (file,) = (tmp_path / "responses").iterdir()
            file.write_bytes(b"anything")
            assert await fetch(session, url) == (False, "2")
            await backend.settle()
            assert await fetch(session, url) == (True, "2")

    async def test_a_serializer_of_the_user_is_used(self, origin: Origin) -> None:
        class JsonSerializer:
            """Stores responses as readable text."""

            def dumps(self, item: Any) -> str:
                entry = item.stored
                return json.dumps({"key": entry.key, "url": entry.url, "body": entry.body.decode()})

            def loads(self, data: bytes) -> Any:
                from tests.test_response import entry

                fields = json.loads(data)
                return CachedResponse.from_stored(entry(fields["body"].encode(), key=fields["key"], url=fields["url"]))

        backend = CustomBackend()
        backend.responses = CustomStorage(serializer=JsonSerializer())
        async with CachedSession(cache=backend) as session:
            assert [await fetch(session, origin.on("/", numbered)) for _ in range(2)] == [(False, "1"), (True, "1")]
            await backend.settle()
            assert any(b'"body": "1"' in item for item in backend.responses.items.values())


class TestOverrides:
    """The engine consults the backend through its documented methods."""

    async def test_requests_share_a_response_by_the_key_that_a_subclass_makes(self, origin: Origin) -> None:
        class ByPath(CacheBackend):
            def create_key(self, method: str, url: Any, **kwargs: Any) -> str:
                return str(url).partition("?")[0]

        async with CachedSession(cache=ByPath()) as session:
            url = origin.on("/", numbered)
            assert [await fetch(session, f"{url}?{number}") for number in range(3)] == [
                (False, "1"),
                (True, "1"),
                (True, "1"),
            ]
            assert await session.cache.responses.contains(url)

    @pytest.mark.parametrize("backend_class", [CacheBackend, CustomBackend])
    async def test_what_a_subclass_finds_not_cacheable_is_not_stored(
        self, origin: Origin, backend_class: type[CacheBackend]
    ) -> None:
        class ShortOnly(backend_class):  # type: ignore[misc, valid-type]  # one of two
            async def is_cacheable(self, response: Any, actions: CacheActions | None = None) -> bool:
                return await super().is_cacheable(response, actions) and len(await response.read()) < 5

        async with CachedSession(cache=ShortOnly()) as session:
            for path, body, expected in (("/a", "four", True), ("/b", "three", False)):
                url = origin.on(path, answer(body))
                await fetch(session, url)
                await session.cache.settle()
                assert (await fetch(session, url))[0] is expected

    @pytest.mark.parametrize("backend_class", [CacheBackend, CustomBackend])
    async def test_what_a_subclass_does_not_find_is_fetched(
        self, origin: Origin, backend_class: type[CacheBackend]
    ) -> None:
        class Forgetful(backend_class):  # type: ignore[misc, valid-type]  # one of two
            hidden = False
            asked = 0

            async def get_response(self, key: str) -> CachedResponse | None:
                self.asked += 1
                found: CachedResponse | None = None if self.hidden else await super().get_response(key)
                return found

        backend, url = Forgetful(), origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            await fetch(session, url)
            await backend.settle()
            assert await fetch(session, url) == (True, "1")
            backend.hidden = True
            assert await fetch(session, url) == (False, "2")
            assert backend.asked >= 3

    @pytest.mark.parametrize("backend_class", [CacheBackend, CustomBackend])
    async def test_what_a_subclass_does_not_save_is_not_stored(
        self, origin: Origin, backend_class: type[CacheBackend]
    ) -> None:
        class Counting(backend_class):  # type: ignore[misc, valid-type]  # one of two
            saved = 0

            async def save_response(
                self, response: ClientResponse, cache_key: str | None = None, expires: datetime | None = None
            ) -> None:
                self.saved += 1
                if response.url.path != "/never":
                    await super().save_response(response, cache_key, expires)

        backend = Counting(expire_after=60)
        async with CachedSession(cache=backend) as session:
            for path, expected in (("/", True), ("/never", False)):
                url = origin.on(path, numbered)
                await fetch(session, url)
                await session.cache.settle()
                async with session.get(url) as response:
                    assert response.from_cache is expected
                    if expected:
                        assert response.expires is not None
        assert backend.saved >= 2

    async def test_a_subclass_hears_of_what_a_change_deletes(self, origin: Origin) -> None:
        class Noting(CacheBackend):
            def __init__(self, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.deleted: list[str] = []

            async def delete(self, key: str) -> None:
                self.deleted.append(key)
                await super().delete(key)

        backend, url = Noting(cache_control=True), origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            await fetch(session, url)
            await session.put(url)
            assert backend.create_key("GET", url) in backend.deleted
            assert not (await fetch(session, url))[0]

    async def test_filter_fn_may_be_a_method(self, origin: Origin) -> None:
        class Picky(CacheBackend):
            def __init__(self, **kwargs: Any) -> None:
                super().__init__(filter_fn=self.may_keep, **kwargs)

            async def may_keep(self, response: ClientResponse) -> bool:
                return response.headers.get("X-Keep") == "yes"

        async with CachedSession(cache=Picky()) as session:
            for keep in ("yes", "no"):
                url = origin.on(f"/{keep}", answer(headers={"X-Keep": keep}))
                await fetch(session, url)
                await session.cache.settle()
                assert (await fetch(session, url))[0] is (keep == "yes")

    async def test_a_method_replaced_on_the_object_counts_too(self, origin: Origin) -> None:
        backend, url = CacheBackend(), origin.on("/", numbered)
        async with CachedSession(cache=backend) as session:
            assert [await fetch(session, url) for _ in range(3)] == [(False, "1"), (True, "1"), (True, "1")]

            async def nothing(key: str) -> CachedResponse | None:
                return None

            replaced: Any = backend
            replaced.get_response = nothing
            assert await fetch(session, url) == (False, "2")


def anything(response: object) -> bool:
    """A filter that accepts every response."""
    return True


class OwnNames(CacheBackend):
    """A backend with private attributes under common names, which must not clash with the base class."""

    NAMES = ("client", "configure", "count", "delete", "drop", "keys", "name", "options", "purge", "read", "related")
    MORE = ("rules", "secret", "settings", "set_options", "shown", "store", "tags", "target", "usable", "write")

    def __init__(self, **options: Any) -> None:
        for name in (*self.NAMES, *self.MORE):
            setattr(self, f"_{name}", "mine")
        super().__init__(**options)


async def test_private_names_of_a_subclass_are_its_own(origin: Origin) -> None:
    url = origin.on("/", answer("text", headers={"Surrogate-Key": "a"}))
    async with CachedSession(cache=OwnNames(cache_control=True, filter_fn=anything)) as session:
        for is_hit in (False, True):
            async with session.get(url, headers={"Authorization": "Bearer me"}) as response:
                assert (await response.text(), response.from_cache) == ("text", is_hit)
        assert (await session.explain("GET", url, headers={"Authorization": "Bearer me"})).decision == "Serve"
        assert await session.cache.delete_expired_responses() == 0
        assert (await session.cache.purge(tags="a", dry_run=True)).entries == 1
        assert (await session.cache.purge(tags="a", soft=True, count_within_s=math.inf)).entries == 1
        assert await session.cache.delete_url(url, everywhere=True) == 1
        await session.cache.clear()


class TestStorages:
    @pytest.mark.shortcuts
    async def test_a_storage_that_fails_costs_no_request(self, origin: Origin) -> None:
        class Broken(CustomStorage):
            async def read(self, key: str) -> ResponseOrKey:
                raise OSError("no such disk")

            async def write(self, key: str, item: ResponseOrKey) -> None:
                raise OSError("no such disk")

        backend, url = CustomBackend(), origin.on("/", numbered)
        backend.responses = Broken()
        async with CachedSession(cache=backend) as session:
            assert await fetch(session, url) == (False, "1")
            await backend.settle()
            assert await fetch(session, url) == (True, "1"), "what could not be written yet is read from memory"
            assert backend.stats.stored == 0
        assert backend.stats.store_errors

    async def test_a_storage_that_lacks_a_method_cannot_be_made(self) -> None:
        incomplete: Any = type("Incomplete", (BaseCache,), {})
        with pytest.raises(TypeError, match="abstract"):
            incomplete()

    async def test_bulk_delete_and_pop_need_not_be_written(self) -> None:
        storage = CustomStorage()
        for key in "abc":
            await storage.write(key, "target")
        await storage.bulk_delete({"a", "missing"})
        assert await storage.pop("b") == "target"
        assert await storage.pop("b", "default") == "default"
        assert [key async for key in storage.keys()] == ["c"]  # noqa: SIM118  # not a dict's

    async def test_an_entry_is_found_through_one_alias(self) -> None:
        storage = CustomStorage()
        await storage.write_entry(make_entry("target"))
        await storage.write("alias", "target")
        await storage.write("loop", "loop")
        entry = await storage.read_entry("alias")
        assert entry is not None
        assert entry.key == "target"
        assert await storage.read_entry("loop") is None


class ManyAtOnce(CustomStorage):
    """A storage with bulk operations and notifications of changes."""

    near_tier_s = 3600.0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.listeners: list[Callable[[Collection[str] | None], None]] = []
        self.calls: list[int] = []

    async def bulk_read(self, keys: Collection[str]) -> Mapping[str, ResponseOrKey]:
        """Return the stored bytes."""
        self.calls.append(len(keys))
        await asyncio.sleep(0)
        return {key: self.items[key] for key in keys if key in self.items}

    async def bulk_write(self, items: Mapping[str, ResponseOrKey]) -> None:
        """Store items."""
        self.calls.append(len(items))
        await asyncio.sleep(0)
        self.items |= {key: self.serialize(item, key) or b"" for key, item in items.items()}

    def on_change(self, listener: Callable[[Collection[str] | None], None]) -> None:
        """Keep the listener."""
        self.listeners.append(listener)


class TestOptionalMethods:
    def backend(self) -> CustomBackend:
        backend = CustomBackend()
        backend.redirects, backend.responses = ManyAtOnce(), ManyAtOnce()
        return backend

    async def test_many_records_are_one_call_and_each_goes_where_it_belongs(self) -> None:
        backend = self.backend()
        store = backend.stack.store
        records = [Record(f"k{number}", make_entry(f"k{number}"), math.inf) for number in range(5)]
        assert list(await store.put([*records, Record("alias", "k1", math.inf)])) == [0] * 6
        assert (set(backend.responses.items), set(backend.redirects.items)) == ({f"k{n}" for n in range(5)}, {"alias"})
        found = await store.get(["k0", "missing", "alias", "k4"])
        assert [each and getattr(each.item, "key", each.item) for each in found] == ["k0", None, "k1", "k4"]
        both: Any = backend.responses, backend.redirects
        assert [storage.calls for storage in both] == [[5, 4], [1, 2]]

    async def test_a_key_whose_kind_changes_is_in_one_of_them(self) -> None:
        backend = self.backend()
        store = backend.stack.store
        await store.put([Record("a", make_entry("a"), math.inf), Record("b", "a", math.inf)])
        await store.get(["a", "b"])
        await store.put([Record("a", "b", math.inf), Record("b", make_entry("b"), math.inf)])
        assert (set(backend.responses.items), set(backend.redirects.items)) == ({"b"}, {"a"})

    async def test_an_item_that_is_spoilt_is_unreadable_alone(self) -> None:
        backend = self.backend()
        store = backend.stack.store
        await store.put([Record(key, make_entry(key), math.inf) for key in "abc"])
        backend.responses.items["b"] = b"spoilt"
        kinds = [each and type(each.item).__name__ for each in await store.get(list("abc"))]
        assert kinds == ["StoredResponse", "Unreadable", "StoredResponse"]

    async def test_a_copy_in_memory_is_dropped_when_the_storage_tells_of_a_change(self, origin: Origin) -> None:
        backend, url = self.backend(), origin.on("/", numbered)
        responses: Any = backend.responses
        async with CachedSession(cache=backend) as session:
            for _ in range(2):
                await fetch(session, url)
                await backend.settle()
            (key,) = responses.items
            reads = responses.reads
            assert await fetch(session, url) == (True, "1")
            assert responses.reads == reads
            del responses.items[key]
            for listener in responses.listeners:
                listener([key])
            assert await fetch(session, url) == (False, "2")

    async def test_what_could_not_be_written_together_is_tried_again(self, origin: Origin) -> None:
        class Refusing(ManyAtOnce):
            refusals = 2

            async def bulk_write(self, items: Mapping[str, ResponseOrKey]) -> None:
                self.refusals -= 1
                if self.refusals >= 0:
                    raise OSError("not now")
                await super().bulk_write(items)

        backend = self.backend()
        backend.responses = Refusing()
        async with CachedSession(cache=backend) as session:
            urls = [origin.on(f"/{number}", numbered) for number in range(3)]
            await asyncio.gather(*(fetch(session, url) for url in urls))
            async with asyncio.timeout(20):
                while len(backend.responses.items) < 3:  # noqa: ASYNC110  # the circuit breaker retries at its own times
                    await asyncio.sleep(0.05)
