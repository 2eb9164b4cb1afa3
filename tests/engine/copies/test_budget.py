"""The limit for the memory of all copies, in a forked child."""

from __future__ import annotations

import pytest

from aiohttp_cache_di.engine.copies.budget import Budget
from tests.posix import in_forked_child, posix_only

LIMIT = 100

pytestmark = [
    posix_only,
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),  # the fork is what is tested
]


def test_what_a_parent_has_taken_is_not_taken_in_a_forked_child() -> None:
    budget = Budget(LIMIT)
    assert budget.take(LIMIT)
    assert in_forked_child(lambda: budget.taken_bytes == 0 and budget.take(LIMIT // 2))
    assert budget.taken_bytes == LIMIT


def test_a_fork_while_a_thread_adds_up_stops_no_child_from_doing_so() -> None:
    budget = Budget(LIMIT)
    with budget._lock:  # the forking thread may stand for any other, as the lock knows no owner
        assert in_forked_child(lambda: budget.take(LIMIT) and budget.taken_bytes == LIMIT)


def test_a_user_of_the_parent_that_a_forked_child_frees_adds_nothing_to_the_limit() -> None:
    budget = Budget(LIMIT)
    assert budget.take(LIMIT)

    def free() -> bool:
        budget.give_back(LIMIT)
        return budget.taken_bytes == 0 and budget.take(LIMIT) and not budget.take(1)

    assert in_forked_child(free)
