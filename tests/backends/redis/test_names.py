"""Names of records and leases: no cache uses, clears or is notified of a name of another cache."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from aiohttp_cache_di.backends.redis import RedisBackend, RedisCache
from aiohttp_cache_di.backends.redis.records.names import Names
from tests.backends.entries import make_entry
from tests.valkey import ValkeyServer

parts = st.one_of(
    st.sampled_from(["app", "responses", "app:responses", "-lease", "-secret", ":", "%", "%3A", "%2D", "é"]),
    st.text(st.sampled_from("ab:%-3A2D\udcff"), max_size=6),
)
braced = st.text(st.sampled_from("ab:%-3A27BD{}\udcff"), max_size=6)
tagged_namespaces = st.one_of(parts, st.sampled_from(["{app}", "a{b}c", "{a:b}:c"]))
Called = tuple[str, str, str]
called = st.tuples(parts, parts, parts)


@given(called)
@example(("app", "responses", "%3A"))
@example(("app", "responses", "a:b%253A"))
def test_a_name_tells_its_key(it: Called) -> None:
    names = Names(it[0], it[1])
    assert names.key(names.record(it[2])) == it[2]


@given(called, called)
@example(("app", "responses", "responses:k"), ("app:responses", "responses", "k"))
@example(("app", "responses-lease", "k"), ("app", "responses", "k"))
@example(("app", "a:b", "k"), ("app:a", "b", "k"))
@example(("app", "a%2Dlease", "k"), ("app", "a-lease", "k"))
def test_two_things_never_have_one_name(one: Called, other: Called) -> None:
    first, second = Names(*one[:2]), Names(*other[:2])
    if one != other:
        assert first.record(one[2]) != second.record(other[2])
        assert first.lease(one[2]) != second.lease(other[2])
    if one[:2] != other[:2]:
        assert first.secret != second.secret
    of_other = [second.record(other[2]), second.lease(other[2]), second.secret]
    for kind, name in enumerate((first.record(one[2]), first.lease(one[2]), first.secret)):
        assert name not in [each for of_kind, each in enumerate(of_other) if of_kind != kind]


@given(called, called)
@example(("app", "responses", ""), ("app:responses", "responses", "k"))
@example(("app", "responses", ""), ("app:responses", "", ""))
def test_no_name_of_another_cache_is_taken_for_ours(one: Called, other: Called) -> None:
    if one[:2] != other[:2]:
        assert Names(*one[:2]).key(Names(*other[:2]).record(other[2])) is None
        assert Names(*one[:2]).key(Names(*other[:2]).lease(other[2])) is None
        assert Names(*one[:2]).key(Names(*other[:2]).secret) is None


tagged = st.tuples(tagged_namespaces, st.one_of(parts, braced), st.one_of(parts, braced))


@given(tagged)
@example(("app", "responses", ""))
@example(("app", "responses", "%"))
@example(("app", "responses", "}{"))
@example(("app", "{}", "%7D"))
@example(("{app}", "responses", "k"))
def test_all_names_of_a_key_are_in_one_slot_of_a_cluster_and_tell_it(it: Called) -> None:
    names = Names(it[0], it[1], tagged=True)
    assert key_slot(names.record(it[2])) == key_slot(names.lease(it[2]))
    assert names.key(names.record(it[2])) == it[2]
    assert names.key(names.lease(it[2])) is None
    assert names.key(names.secret) is None


@given(tagged, tagged)
@example(("app", "{}", "k"), ("app", "%7B%7D", "k"))
def test_two_things_never_have_one_name_in_a_cluster(one: Called, other: Called) -> None:
    first, second = Names(*one[:2], tagged=True), Names(*other[:2], tagged=True)
    if one != other:
        assert first.record(one[2]) != second.record(other[2])
        assert first.lease(one[2]) != second.lease(other[2])
    if one[:2] != other[:2]:
        assert first.secret != second.secret
        for name in (second.record(other[2]), second.lease(other[2]), second.secret):
            assert first.key(name) is None


def test_keys_are_spread_over_a_cluster() -> None:
    names = Names("app", "responses", tagged=True)
    assert len({key_slot(names.record(f"k{number}")) for number in range(100)}) > 90
    assert names.record("0af3") == b"app:responses:{0af3}"
    assert names.lease("0af3") == b"app:responses-lease:{0af3}"


def test_usual_names_read_as_they_are_called() -> None:
    names = Names("svc:prod:http", "responses")
    assert names.record("0af3") == b"svc:prod:http:responses:0af3"
    assert names.lease("0af3") == b"svc:prod:http:responses-lease:0af3"


CACHES = [("app", "responses"), ("app:responses", "responses"), ("app:responses", "x"), ("app", "responses:responses")]


@pytest.fixture
async def caches(own_valkey: ValkeyServer) -> AsyncIterator[list[RedisCache]]:
    caches = [RedisCache(*each, own_valkey.url) for each in CACHES]
    for cache in caches:
        for key in ("k", "responses:k", "a:b"):
            await cache.write_entry(make_entry(key))
    yield caches
    for cache in caches:
        await cache.close()


@pytest.mark.parametrize("index", range(len(CACHES)))
async def test_clearing_a_cache_leaves_those_whose_names_begin_alike(caches: list[RedisCache], index: int) -> None:
    keys = caches[index].keys()
    assert {key async for key in keys} == {"k", "responses:k", "a:b"}
    await caches[index].clear()
    assert [await cache.size() for cache in caches] == [0 if n == index else 3 for n in range(len(CACHES))]


async def test_clearing_a_backend_leaves_the_one_whose_name_begins_alike(own_valkey: ValkeyServer) -> None:
    app, longer = (RedisBackend(name, own_valkey.url) for name in ("app", "app:responses"))
    await longer.responses.write_entry(make_entry("k"))
    await app.clear()
    assert await longer.responses.read_entry("k") is not None
    for backend in (app, longer):
        await backend.close()
