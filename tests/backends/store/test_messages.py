"""The message of an error is shown unless it may have a secret."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.backends.store.messages import MAX_MESSAGE_CHARS, message_of


def test_the_message_is_shown_on_one_line_and_not_without_end() -> None:
    assert message_of(ValueError("no such\n  server")) == "no such server"
    assert message_of(FileNotFoundError(2, "gone")) == "[Errno 2] gone"
    assert len(message_of(ValueError("x" * 10_000))) == MAX_MESSAGE_CHARS


@pytest.mark.parametrize(
    "message",
    [r"AUTH p@ss\word", r"AUTH 'p@ss\\word'", "AUTH p%40ss%5Cword", "no route to redis://user:another@host"],
)
def test_a_message_with_a_secret_in_any_form_is_not_shown(message: str) -> None:
    assert message_of(ValueError(message), [r"p@ss\word", ""]) == ""


def test_a_secret_behind_the_end_of_what_is_shown_hides_the_whole_message() -> None:
    assert message_of(ValueError(f"{'x' * MAX_MESSAGE_CHARS} secret"), ["secret"]) == ""


def test_an_error_that_looks_as_if_it_came_from_the_operating_system_shows_no_message() -> None:
    assert message_of(OSError("AUTH secret")) == ""
