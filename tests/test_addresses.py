"""Addresses of a Redis server: what is refused, and what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiohttp_cache_di.addresses import mask_redis_address, refuse_odd_redis_address


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
        ("redis://user:hunter2", "a port that is none"),
        ("redis://user:hunter2/0", "a port that is none"),
        ("redis://host:0", "a port that is none"),
        ("redis://host:65536", "a port that is none"),
        ("redis://:hunter2@/0", "no host"),
        ("redis:///0", "no host"),
        ("redis://a,b:6379", "no host"),
        ("redis://host\\@hunter2", "backslash"),
        ("redis://ho\nst", "control character"),
        ("redis://host/name", "ends in something else"),
        ("unix://hunter2@host/path", "no socket"),
        ("unix://var/run/redis.sock", "no socket"),
        ("unix://", "no socket"),
        ("redis//user:hunter2@localhost", "none of"),
        ("http://user:hunter2@localhost", "none of"),
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
