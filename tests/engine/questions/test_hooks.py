"""Which methods of a user's own the engine has to call."""

from __future__ import annotations

from typing import Any

import pytest
from yarl import URL

from aiohttp_cache_di.backends import CacheBackend
from aiohttp_cache_di.engine.questions.hooks import Hooks
from aiohttp_cache_di.engine.questions.question import Questions
from tests.interleaving import at_line


def names(hooks: Hooks) -> set[str]:
    """The names of the hooks that are set."""
    fields = set(hooks.__struct_fields__) - {"revision"} | {"judges_hits"}
    return {name for name in fields if getattr(hooks, name)}


def test_the_library_s_own_methods_are_none() -> None:
    assert names(Hooks.of(CacheBackend())) == set()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("create_key", {"makes_keys"}),
        ("create_cache_actions", {"makes_rules", "judges_hits"}),
        ("request", {"answers", "looks_up", "judges_hits"}),
        ("get_response", {"looks_up", "judges_hits"}),
        ("is_cacheable", {"judges_entries"}),
        ("save_response", {"judges_entries", "saves"}),
    ],
)
def test_a_method_counts_in_a_subclass_and_on_an_object(method: str, expected: set[str]) -> None:
    def own(*args: Any, **kwargs: Any) -> Any:
        return None

    assert names(Hooks.of(type("Own", (CacheBackend,), {method: own})())) == expected
    backend = CacheBackend()
    assert names(Hooks.of(backend)) == set()
    setattr(backend, method, own)
    assert names(Hooks.of(backend)) == expected


def test_a_filter_has_a_say_in_both() -> None:
    backend = CacheBackend(filter_fn=lambda response: True)  # pyright: ignore[reportUnknownLambdaType]  # any response
    assert names(Hooks.of(backend)) == {"filters", "judges_entries", "judges_hits"}


def test_they_are_looked_for_once_per_revision() -> None:
    backend = CacheBackend()
    hooks = Hooks.of(backend)
    assert Hooks.of(backend) is hooks
    backend.expire_after = 5
    assert Hooks.of(backend) is not hooks


@pytest.mark.parametrize("number", range(80))
def test_what_another_thread_replaces_at_any_moment_is_seen_afterwards(number: int) -> None:
    backend = CacheBackend()
    questions, url = Questions(backend), URL("http://example.org/")

    def meanwhile() -> None:
        backend.create_key = lambda *args, **kwargs: "own"  # type: ignore[method-assign]  # a hook may be replaced

    with at_line(number, meanwhile) as came:
        questions.plain("GET", url)
    if not came:
        pytest.skip("fewer lines run")
    assert Hooks.of(backend).makes_keys
    assert questions.plain("GET", url).key == "own"
