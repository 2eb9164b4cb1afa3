"""One decision about what is stored, whichever way a request takes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from msgspec.structs import replace

from aiohttp_cache_di.policy import PLAIN_HIT, Fetch, FullQuestion, Question, Rules, Serve, decide, on_request
from aiohttp_cache_di.rfc9111.messages import StoredResponse
from aiohttp_cache_di.rfc9111.vary import vary_digest
from tests.messages import NOW, a_request, a_stored

STORED = a_stored({"Cache-Control": "max-age=60"})
RULES = Rules(lifetime_s=60)


def remembered(stored: StoredResponse = STORED, **fields: Any) -> Question:
    return Question(stored.method, stored.key, **fields)


def full(fields: dict[str, str] | None = None, *, rules: Rules = RULES, **more: Any) -> FullQuestion:
    return FullQuestion.of(a_request(fields or {}), rules, key=STORED.key, **more)


@pytest.mark.parametrize("question", [remembered(), full()], ids=["remembered", "full"])
class TestPlainHit:
    def test_a_fresh_response_is_a_plain_hit(self, question: Question) -> None:
        assert decide(question, STORED, NOW) is PLAIN_HIT

    @pytest.mark.parametrize(
        "fields",
        [
            {"partition": "another's"},
            {"fresh_until": NOW},
            {"status": 206},
            {"method": "HEAD"},
            {"vary_fields": ("*",), "vary_digest": b"any"},
            {"vary_fields": ("accept",), "vary_digest": b"another's"},
        ],
        ids=str,
    )
    def test_a_response_that_differs_in_any_of_these_is_not_a_plain_hit(
        self, question: Question, fields: dict[str, Any]
    ) -> None:
        decision = decide(question, replace(STORED, **fields), NOW)
        assert decision is not PLAIN_HIT
        assert isinstance(decision, Fetch) or decision is None

    def test_without_a_stored_response_there_is_no_plain_hit(self, question: Question) -> None:
        assert decide(question, None, NOW) is not PLAIN_HIT


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "QUERY", "PUT"])
@pytest.mark.parametrize("fields", [{}, {"Cache-Control": "only-if-cached"}, {"Range": "bytes=0-1"}], ids=repr)
@pytest.mark.parametrize("cache_control", [True, False])
@pytest.mark.parametrize(
    "more", [{}, {"refresh": True}, {"only_if_cached": True}, {"lifetime_s": 0}, {"post_as_query": True}], ids=repr
)
def test_where_nothing_is_stored_the_short_way_comes_to_what_the_whole_one_does(
    method: str, fields: dict[str, str], cache_control: bool, more: dict[str, Any]
) -> None:
    rules = Rules(cache_control=cache_control, allowed_methods=frozenset({"GET", "HEAD", "POST", "QUERY"}), **more)
    request = replace(a_request(fields), method=method)
    question = FullQuestion.of(request, rules, key="k")
    assert decide(question, None, NOW) == on_request(request, None, rules, now=NOW)


def test_a_response_that_another_key_leads_to_takes_the_whole_question() -> None:
    """What a storage finds by way of an alias."""
    assert decide(remembered(), replace(STORED, key="other"), NOW) is None


def test_a_remembered_question_knows_what_it_was_varied_on() -> None:
    digest = vary_digest(("accept",), a_request({"Accept": "text/plain"}).headers)
    stored = replace(STORED, vary_fields=("accept",), vary_digest=digest)
    assert decide(remembered(vary_digest=digest), stored, NOW) is PLAIN_HIT
    assert decide(remembered(), stored, NOW) is None
    assert decide(remembered(vary_digest=digest), STORED, NOW) is None


def test_a_full_question_selects_by_what_the_request_says() -> None:
    digest = vary_digest(("accept",), a_request({"Accept": "text/plain"}).headers)
    variant = replace(STORED, key="variant", vary_fields=("accept",), vary_digest=digest)
    assert decide(full({"Accept": "text/plain"}), variant, NOW) is PLAIN_HIT
    assert isinstance(decide(full({"Accept": "text/html"}), variant, NOW), Fetch)


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        ({"Cache-Control": "max-age=5"}, RULES),
        ({"Range": "bytes=0-1"}, RULES),
        ({}, Rules(lifetime_s=0)),
        ({}, Rules(lifetime_s=60, refresh=True)),
        ({}, Rules(lifetime_s=60, allowed_methods=frozenset())),
    ],
    ids=str,
)
def test_a_request_that_asks_for_more_gets_no_plain_hit(fields: dict[str, str], rules: Rules) -> None:
    assert full(fields, rules=rules).plain_until == -math.inf
    assert decide(full(fields, rules=rules), STORED, NOW) is not PLAIN_HIT


def test_a_plain_hit_ends_when_the_rules_do() -> None:
    question = remembered(plain_until=NOW + 1)
    assert decide(question, STORED, NOW) is PLAIN_HIT
    assert decide(question, STORED, NOW + 1) is None


def test_a_response_to_get_answers_head_by_its_head() -> None:
    question = FullQuestion.of(replace(a_request(), method="HEAD"), RULES, key="of HEAD")
    assert isinstance(decide(question, STORED, NOW), Serve)


def test_what_the_store_may_drop_counts_as_gone() -> None:
    stored = replace(STORED, fresh_until=NOW - 2, store_until=NOW - 1)
    decision = decide(full(rules=Rules(cache_control=True)), stored, NOW)
    assert isinstance(decision, Fetch)
    assert decision.reason == "uri-miss"
