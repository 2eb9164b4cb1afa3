"""Addresses of stores: which are refused, and how they are displayed without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.addresses import (
    mask_mongodb_address,
    mask_redis_address,
    refuse_odd_mongodb_address,
    refuse_odd_redis_address,
    secrets_of,
)


@pytest.mark.parametrize(
    "address",
    [
        "redis://localhost",
        "redis://localhost:6379/0",
        "REDIS://localhost/",
        "rediss://user:p%23ss@cache.example.org:6380/1?socket_timeout=1",
        "redis://:p!$&'()*+,;=w@10.0.0.1",
        "redis://[fd00::1]:6379/0",
        "redis://my_service:6379",
        "unix:///var/run/redis.sock?db=1",
        "redis+cluster://user:p%23ss@a:7000,b,[fd00::1]:7001/0?socket_timeout=1",
        "rediss+cluster://a/",
        "redis+sentinel://:secret@a:26379,b/my.service-1/3",
        "REDISS+Sentinel://a/cache",
        "unix://user:secret@/var/run/redis.sock",
    ],
)
def test_an_address_that_names_one_server_is_taken(address: str) -> None:
    refuse_odd_redis_address(address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("redis://:hunter2#x@host/0", "fragment"),
        ("redis://host/0#hunter2", "fragment"),
        ("redis://:hunter2?x@host/0", "stray character"),
        ("redis://user:1?hunter2@host/0", "stray character"),
        ("redis://:hunter2/x@host/0", "stray character"),
        ("redis://:hunter2@x@host/0", "stray character"),
        ("redis://:hunter2%x@host/0", "stray character"),
        ("redis://:hunter2[x@host/0", "stray character"),
        ("redis://user:hunter2", "a port that is not valid"),
        ("redis://user:hunter2/0", "a port that is not valid"),
        ("redis://host:0", "a port that is not valid"),
        ("redis://host:65536", "a port that is not valid"),
        ("redis://:hunter2@/0", "no host"),
        ("redis:///0", "no host"),
        ("redis://a,b:6379", "no host"),
        ("redis+cluster://:hunter2@a,/0", "no host"),
        ("redis+cluster://:hunter2@a/1", "no database but 0"),
        ("redis+cluster://a,user:hunter2", "a port that is not valid"),
        ("redis+sentinel://:hunter2@a", "/name"),
        ("redis+sentinel://:hunter2@a/na%20me", "/name"),
        ("redis+other://:hunter2@a", "has to begin with redis://"),
        ("redis://host\\@hunter2", "backslash"),
        ("redis://ho\nst", "control character"),
        ("redis://host/name", "after its host the address may have /"),
        ("unix://hunter2@host/path", "no socket"),
        ("unix://var/run/redis.sock", "no socket"),
        ("unix://", "no socket"),
        ("redis//user:hunter2@localhost", "has to begin with redis://"),
        ("http://user:hunter2@localhost", "has to begin with redis://"),
    ],
)
def test_an_address_that_can_be_read_in_two_ways_is_refused_without_repeating_it(address: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        refuse_odd_redis_address(address)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in mask_redis_address(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user:hunter2@host/0", "redis://user:***@host/0"),
        ("redis://:hunter2@host/0", "redis://:***@host/0"),
        ("redis://user@host", "redis://user@host"),
        ("redis+cluster://u:hunter2@a:1,b:2/0", "redis+cluster://u:***@a:1,b:2/0"),
        (
            "rediss+sentinel://:hunter2@a/n?sentinel_password=hunter2",
            "rediss+sentinel://:***@a/n?sentinel_password=***",
        ),
        ("redis+cluster://u:hunter2@a/3", "redis+cluster://***"),
        ("redis+cluster://:hunter2@a,[fd00::1]:7000", "redis+cluster://:***@a,[fd00::1]:7000"),
        ("redis://h/0?password=hunter2&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h/0?pasword=hunter2", "redis://h/0?pasword=***"),
        ("unix://u:hunter2@/run/r.sock?db=2", "unix://u:***@/run/r.sock?db=2"),
        ("http://localhost", "http://localhost"),
        ("redis://host:hunter2", "redis://***"),
        ("hunter2", "***"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert mask_redis_address(address) == shown


@given(before=st.text("redis:/@#?%[]\\", max_size=12), after=st.text("host:/@#?%[]\\0", max_size=12))
def test_a_password_is_never_shown_whatever_stands_around_it(before: str, after: str) -> None:
    address = f"redis://{before}:hunter2{after}@host/0"

    assert "hunter2" not in mask_redis_address(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("mongodb://localhost", "mongodb://localhost"),
        ("mongodb://user:p%23ss@h1:27017,h2/admin?maxPoolSize=5", "mongodb://***@h1:27017,h2/admin?***"),
        (
            "mongodb+srv://user:hunter2@cluster.example.org/?retryWrites=true&w=majority",
            "mongodb+srv://***@cluster.example.org/?***",
        ),
        ("mongodb://[fd00::1]:27017", "mongodb://[fd00::1]:27017"),
        ("mongodb://user:hunter2@%2Ftmp%2Fmongodb-27017.sock", "mongodb://***@%2Ftmp%2Fmongodb-27017.sock"),
    ],
)
def test_an_address_of_mongodb_is_taken_and_shown_without_its_user_and_options(address: str, shown: str) -> None:
    refuse_odd_mongodb_address(address)

    assert mask_mongodb_address(address) == shown


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("mongodb://user:hunter2?x@host/0", "a host or a port"),
        ("mongodb://user:hunter2/x@host/0", "is not of the form mongodb://host:27017"),
        ("mongodb://user:hunter2#x@host/0", "is not of the form mongodb://host:27017"),
        ("mongodb://user:hunter2@x@host", "before its host"),
        ("mongodb://user:hunter2%x@host", "before its host"),
        ("mongodb://user:hunter2", "a host or a port"),
        ("mongodb://user:hunter2@", "a host or a port"),
        ("mongodb://user:1@h,:hunter2", "a host or a port"),
        ("mongodb://host/?password=hunter2@x", "behind its host"),
        ("redis://user:hunter2@host", "is not of the form mongodb://host:27017"),
        ("hunter2", "is not of the form mongodb://host:27017"),
    ],
)
def test_an_address_of_mongodb_that_can_be_read_in_two_ways_is_refused(address: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        refuse_odd_mongodb_address(address)

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in mask_mongodb_address(address)


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        (
            "redis+sentinel://u:p%40@a,[fd00::1]:1/n?sentinel_password=q%20r&socket_timeout=1",
            ["p%40", "p@", "q r", "q r"],
        ),
        ("mongodb://u:p@a,b/db?replicaSet=r", ["p", "p"]),
        ("redis://localhost/0", []),
        ("unix:///run/r.sock", []),
    ],
)
def test_the_secrets_of_an_address_are_its_passwords(address: str, secrets: list[str]) -> None:
    assert list(secrets_of(address)) == secrets
