from __future__ import annotations

import pytest

from aiohttp_cache_di.keys.sealing import seal, unseal

KEY = b"k" * 64


@pytest.mark.parametrize("size", [0, 1, 2, 63, 64, 65, 5000])
@pytest.mark.parametrize("key", [b"", b"k", KEY])
def test_what_is_sealed_can_be_opened(size: int, key: bytes) -> None:
    text = bytes(number % 251 for number in range(size))
    assert unseal(seal(text, "place", key), "place", key) == text


def test_it_looks_different_each_time_and_says_nothing() -> None:
    sealed = [seal(b"hunter2" * 30, "place", KEY) for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert not any(character in "".join(sealed) for character in "+/=#?&")


def test_what_was_changed_or_moved_is_not_opened() -> None:
    sealed = seal(b"text", "place", KEY)
    assert unseal(sealed, "other", KEY) is None
    assert unseal(sealed, "place", b"other") is None
    for at in range(len(sealed) - 1):
        changed = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
        assert unseal(changed, "place", KEY) is None
        assert unseal(sealed[:at], "place", KEY) is None


@pytest.mark.parametrize("sealed", ["", "A", "\u00fc", "not sealed at all", "=" * 100])
def test_what_is_nothing_of_ours_is_not_opened(sealed: str) -> None:
    assert unseal(sealed, "place", KEY) is None
