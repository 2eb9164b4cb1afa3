from __future__ import annotations

import itertools
from typing import Any

import pytest

from aiohttp_cache_di.entries import secrets
from aiohttp_cache_di.entries.codec import EntryCodec
from aiohttp_cache_di.entries.secrets import DEFAULT_SALT, DigestKey, digest_key_of, subkeys
from aiohttp_cache_di.errors import ConfigurationError, UnreadableEntryError
from tests.messages import a_stored


def test_each_use_and_each_name_has_a_key_of_its_own() -> None:
    uses = [("entries",), ("digests",), ("entries", "a"), ("entries", "b"), ("entries", "a", "b"), ("entries", "ab")]
    made = [subkeys(secret, salt, *use) for secret in ("s", "t") for salt in ("1", "2") for use in uses]
    made += [subkeys("s", "1")]
    assert len(set(made)) == 25
    assert subkeys("s", "1", "entries", "a") == subkeys(b"s", b"1", "entries", "a")


def test_a_secret_that_can_be_guessed_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    secrets._warn_of_short.cache_clear()
    subkeys("x" * 16, "")
    assert not caplog.records
    subkeys(["x" * 16, "hunter2"], "")
    subkeys("hunter2", "")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "hunter2" not in caplog.text


def test_there_is_a_key_for_each_secret_and_none_without() -> None:
    assert subkeys(["s", "t"], "", "entries") == (*subkeys("s", "", "entries"), *subkeys("t", "", "entries"))
    assert subkeys(None, "", "entries") == ()


@pytest.mark.parametrize("secret", ["", b"", [], ["good", ""], " " * 20, "\0" * 20, b"\t\r\n", ["good", " "]])
def test_an_empty_secret_is_refused(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret_key is empty"):
        digest_key_of(secret)


def test_digests_are_made_with_a_key_of_the_first_secret_that_is_not_the_one_that_signs() -> None:
    assert digest_key_of(["s", "t"]) == digest_key_of("s") != digest_key_of("t")
    assert digest_key_of(None) == b""
    assert digest_key_of("s") not in subkeys("s", DEFAULT_SALT, "entries")


def test_a_key_of_digests_shows_only_whether_there_is_one() -> None:
    assert [repr(DigestKey(key)) for key in (b"hunter2", b"")] == ["DigestKey(...)", "DigestKey()"]
    assert "hunter2" not in f"{DigestKey(b'hunter2')} {[DigestKey(b'hunter2')]!r}"


def test_an_entry_that_another_cache_or_collection_has_signed_is_not_believed() -> None:
    names: list[tuple[str, ...]] = [(), ("app",), ("app", "responses"), ("app", "redirects"), ("app2", "responses")]
    codecs = [EntryCodec("one secret", names=one) for one in names]
    for one, other in itertools.product(codecs, codecs):
        data = one.encode(a_stored(), "k")
        if one is other:
            assert other.decode(data, "k") == a_stored()
        else:
            with pytest.raises(UnreadableEntryError, match="secret keys"):
                other.decode(data, "k")
