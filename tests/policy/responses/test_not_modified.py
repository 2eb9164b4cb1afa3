from __future__ import annotations

import math

import msgspec
import pytest

from aiohttp_cache_di.policy import (
    Fetch,
    Freshen,
    Load,
    NotModified,
    Pass,
    Refetch,
    Rules,
    Serve,
    Validate,
    on_head_response,
    on_response,
    select_variant,
)
from aiohttp_cache_di.rfc9111.messages import StoredResponse, VariantRef
from aiohttp_cache_di.rfc9111.vary import vary_digest
from tests.messages import NOW, PRIVATE, SHARED, Fields, a_request, a_response, a_stored, date

OLD = a_stored({"ETag": '"a"', "Cache-Control": "max-age=5", "Age": "3"}, received_at=NOW - 100, fresh_for_s=5)
REF = VariantRef(("foo",), b"2", "k.2", '"b"')


def validation(stored: StoredResponse | None) -> Validate:
    return Validate(stored, (("If-None-Match", "…"),), "stale")


def freshened(fields: Fields, *, stored: StoredResponse = OLD, rules: Rules = PRIVATE) -> StoredResponse:
    response = a_response(fields, status=304, dated=False)
    decision = on_response(a_request(), response, validation(stored), rules, now=NOW)
    assert isinstance(decision, Freshen)
    assert isinstance(decision.answer, Serve)
    assert decision.answer.stored.key == stored.key
    return decision.answer.stored


def test_a_304_renews_lifetime_age_and_times_and_keeps_the_body() -> None:
    new = freshened({"ETag": '"a"', "Cache-Control": "max-age=50"})
    assert (new.fresh_until, new.received_at, new.requested_at) == (NOW + 50, NOW, NOW)
    assert (new.created_at, new.body) == (OLD.created_at, OLD.body)
    assert "Age" not in new.headers
    assert new.headers["Date"] == date()
    assert new.store_until > NOW + 50


def test_a_304_that_says_nothing_renews_the_old_lifetime() -> None:
    assert freshened({"ETag": '"a"'}).fresh_until == NOW + 5


def test_fields_not_to_be_reused_are_not_taken_from_a_304_that_does_not_name_them() -> None:
    stored = a_stored({"ETag": '"a"', "Cache-Control": 'max-age=5, no-cache="X-A"'})
    assert "X-A" not in freshened({"ETag": '"a"', "X-A": "1"}, stored=stored).headers
    assert "X-A" in freshened({"ETag": '"a"', "X-A": "1", "Cache-Control": "max-age=5"}, stored=stored).headers


def test_the_age_of_a_304_counts() -> None:
    assert freshened({"ETag": '"a"', "Age": "2"}).fresh_until == NOW + 3


def test_a_304_under_rules_renews_the_users_lifetime() -> None:
    assert freshened({}, rules=Rules(lifetime_s=60)).fresh_until == NOW + 60


@pytest.mark.parametrize("fields", [{"Cache-Control": "no-store"}, {"Vary": "*"}])
def test_what_a_304_no_longer_lets_keep_answers_once_more(fields: dict[str, str]) -> None:
    new = freshened({"ETag": '"a"', **fields})
    assert (new.fresh_until, new.store_until) == (-math.inf, NOW)


def test_a_shared_cache_does_not_keep_what_a_304_makes_private() -> None:
    fields = {"ETag": '"a"', "Cache-Control": "private, max-age=50"}
    assert freshened(fields, rules=SHARED).store_until == NOW
    assert freshened(fields).store_until > NOW


def test_a_shared_cache_does_not_keep_for_credentials_what_a_304_no_longer_makes_public() -> None:
    stored = a_stored({"ETag": '"a"', "Cache-Control": "public, max-age=5"}, fresh_for_s=-1)
    request = a_request({"Authorization": "Basic x"})
    for cache_control, store_until in (("public, max-age=50", NOW + 50 + 86400), ("max-age=50", NOW)):
        response = a_response({"ETag": '"a"', "Cache-Control": cache_control}, status=304)
        decision = on_response(request, response, validation(stored), SHARED, now=NOW)
        assert isinstance(decision, Freshen)
        assert decision.answer.stored.store_until == store_until


def test_what_must_be_understood_is_kept_after_a_304_that_says_no_store_too() -> None:
    fields = {"ETag": '"a"', "Cache-Control": "must-understand, no-store, max-age=50"}
    assert freshened(fields, stored=a_stored(fields, fresh_for_s=-1)).fresh_until == NOW + 50


def test_a_304_may_say_anew_what_the_response_varies_on() -> None:
    response = a_response({"ETag": '"a"', "Vary": "Foo"}, status=304)
    request = a_request({"Foo": "1"})
    decision = on_response(request, response, validation(OLD), PRIVATE, now=NOW)
    assert isinstance(decision, Freshen)
    assert decision.answer.stored.fresh_until == NOW + 5
    assert select_variant(request, decision.answer.stored) == OLD.key
    assert select_variant(a_request({"Foo": "2"}), decision.answer.stored) is None


VARYING = {"ETag": '"a"', "Cache-Control": "max-age=5", "Vary": "Foo"}
FOR_1 = a_stored(
    VARYING, key="k.1", vary_fields=("foo",), vary_digest=vary_digest(("foo",), a_request({"Foo": "1"}).headers)
)


@pytest.mark.parametrize("tag", ['"a"', None])
def test_a_304_lets_another_requests_variant_be_stored_for_this_request_too(tag: str | None) -> None:
    response = a_response({} if tag is None else {"ETag": tag}, status=304)
    request = a_request({"Foo": "2"})
    candidates = (FOR_1, VariantRef(("foo",), b"3", "k.3", '"a"'))  # that one is such a copy
    decision = on_response(request, response, validation(None), PRIVATE, now=NOW, candidates=candidates)
    assert isinstance(decision, Freshen)
    assert select_variant(request, decision.answer.stored) == FOR_1.key
    assert select_variant(a_request({"Foo": "1"}), decision.answer.stored) is None


def test_a_304_after_which_another_requests_variant_may_not_be_kept_ends_that() -> None:
    response = a_response({"ETag": '"a"', "Cache-Control": "no-store"}, status=304)
    request = a_request({"Foo": "2"})
    decision = on_response(request, response, validation(None), PRIVATE, now=NOW, candidates=(FOR_1,))
    assert isinstance(decision, Freshen)
    assert decision.answer.stored.store_until == NOW
    assert decision.answer.stored.vary_digest == FOR_1.vary_digest


def test_a_304_to_the_callers_own_condition_stores_no_other_variant_for_it() -> None:
    variant = a_stored({**VARYING, "Last-Modified": date(-500)}, vary_fields=("foo",), vary_digest=FOR_1.vary_digest)
    request = a_request({"Foo": "2", "If-Modified-Since": date(-500)})  # all variants may be of that time
    decision = on_response(
        request, a_response({}, status=304), Fetch("request"), PRIVATE, now=NOW, candidates=(variant,)
    )
    assert isinstance(decision, Freshen)
    assert decision.answer.stored.vary_digest == FOR_1.vary_digest


def test_a_304_does_not_say_on_what_another_requests_variant_varies() -> None:
    variant = msgspec.structs.replace(OLD, vary_fields=("bar",), vary_digest=b"of another request")
    response = a_response({"ETag": '"a"', "Vary": "Foo"}, status=304)
    decision = on_response(a_request(), response, validation(None), PRIVATE, now=NOW, candidates=(variant,))
    assert isinstance(decision, Freshen)
    assert decision.answer.stored.fresh_until == -math.inf


def test_what_the_users_rules_no_longer_let_keep_answers_once_more() -> None:
    assert freshened({}, rules=Rules(lifetime_s=0)).store_until == NOW


@pytest.mark.parametrize("tag", ['"a"', 'W/"a"'])
def test_a_304_is_matched_by_its_tag(tag: str) -> None:
    assert freshened({"ETag": tag}, stored=a_stored({"ETag": '"a"'}, fresh_for_s=-1)).headers["ETag"] == tag


def test_an_equal_tag_is_preferred_to_one_that_matches_weakly() -> None:
    weak, strong = a_stored({"ETag": 'W/"a"'}, key="weak"), a_stored({"ETag": '"a"'}, key="strong")
    response = a_response({"ETag": '"a"'}, status=304)
    decision = on_response(a_request(), response, validation(None), PRIVATE, now=NOW, candidates=(weak, strong))
    assert isinstance(decision, Freshen)
    assert decision.answer.stored.key == "strong"


def test_a_304_for_a_variant_that_is_not_at_hand_asks_for_it() -> None:
    response = a_response({"ETag": '"b"'}, status=304)
    assert on_response(a_request(), response, validation(OLD), PRIVATE, now=NOW, candidates=(OLD, REF)) == Load("k.2")


GZIPPED = a_stored({"ETag": '"x-gzip"', "Content-Encoding": "gzip", "Cache-Control": "max-age=5"}, key="k")


@pytest.mark.parametrize("tag", ['"x-gzip"', '"x"'])
def test_a_304_of_apache_confirms_a_gzipped_response_with_and_without_the_suffix(tag: str) -> None:
    new = freshened({"ETag": tag, "Cache-Control": "max-age=50"}, stored=GZIPPED)
    assert (new.fresh_until, new.headers["ETag"]) == (NOW + 50, '"x-gzip"')


@pytest.mark.parametrize(("own", "tag"), [('W/"x-gzip"', 'W/"x"'), ('W/"x-gzip"', '"x"'), ('"x-gzip"', 'W/"x"')])
def test_a_304_without_the_suffix_is_compared_weakly(own: str, tag: str) -> None:
    stored = a_stored({"ETag": own, "Content-Encoding": "gzip", "Cache-Control": "max-age=5"}, key="k")
    new = freshened({"ETag": tag, "Cache-Control": "max-age=50"}, stored=stored)
    assert (new.fresh_until, new.headers["ETag"]) == (NOW + 50, own)


@pytest.mark.parametrize("tag", ['"y"', 'W/"y"', '"y-gzip"', '"x-br"', '"x-gzip-gzip"'])
def test_a_304_with_the_tag_of_other_content_confirms_no_gzipped_response(tag: str) -> None:
    response = a_response({"ETag": tag}, status=304)
    assert on_response(a_request(), response, validation(GZIPPED), PRIVATE, now=NOW) == Refetch()


def test_a_304_without_the_suffix_is_about_the_response_that_was_not_encoded_if_that_is_stored_too() -> None:
    plain = VariantRef(("accept-encoding",), b"2", "k.2", '"x"')
    response = a_response({"ETag": '"x"'}, status=304)
    both = (GZIPPED, plain)
    assert on_response(a_request(), response, validation(GZIPPED), PRIVATE, now=NOW, candidates=both) == Load("k.2")


def test_a_304_with_the_suffix_confirms_no_response_that_was_not_encoded() -> None:
    plain = a_stored({"ETag": '"x"', "Cache-Control": "max-age=5"})
    response = a_response({"ETag": '"x-gzip"'}, status=304)
    assert on_response(a_request(), response, validation(plain), PRIVATE, now=NOW) == Refetch()


def test_of_variants_that_share_a_tag_the_selected_one_is_confirmed() -> None:
    selected = a_stored({"ETag": 'W/"a"'}, key="k.2", fresh_for_s=-1)
    candidates = (a_stored({"ETag": 'W/"a"'}), VariantRef(("foo",), b"2", "k.2", 'W/"a"'))
    response = a_response({"ETag": 'W/"a"'}, status=304)
    decision = on_response(a_request(), response, validation(selected), PRIVATE, now=NOW, candidates=candidates)
    assert isinstance(decision, Freshen)
    assert decision.answer.stored.key == "k.2"


def test_a_304_without_tag_is_about_the_only_one_that_was_asked_about() -> None:
    assert freshened({}).received_at == NOW
    response = a_response({}, status=304)
    alone = on_response(a_request(), response, validation(None), PRIVATE, now=NOW, candidates=(REF,))
    assert alone == Load("k.2")
    several = on_response(a_request(), response, validation(OLD), PRIVATE, now=NOW, candidates=(OLD, REF))
    assert several == Refetch()


def test_a_304_may_bring_a_tag_where_there_was_only_a_date() -> None:
    dated = a_stored({"Last-Modified": date(-500)}, fresh_for_s=-1)
    assert freshened({"ETag": '"new"', "Last-Modified": date(-500)}, stored=dated).headers["ETag"] == '"new"'
    for fields in ({"ETag": '"new"'}, {"ETag": '"new"', "Last-Modified": date(-400)}):
        response = a_response(fields, status=304)
        assert on_response(a_request(), response, validation(dated), PRIVATE, now=NOW) == Refetch()


@pytest.mark.parametrize("offset_s", [-600, -400])
def test_a_304_with_another_date_than_the_one_asked_about_confirms_nothing(offset_s: float) -> None:
    dated = a_stored({"Last-Modified": date(-500)}, fresh_for_s=-1)
    response = a_response({"Last-Modified": date(offset_s)}, status=304)
    assert on_response(a_request(), response, validation(dated), PRIVATE, now=NOW) == Refetch()
    tagged = a_stored({"ETag": '"a"', "Last-Modified": date(-500)}, fresh_for_s=-1)
    assert freshened({"Last-Modified": date(offset_s)}, stored=tagged).headers["Last-Modified"] == date(offset_s)


def test_a_304_that_cannot_answer_the_request_is_no_answer() -> None:
    part = a_stored({"ETag": '"a"', "Content-Range": "bytes 0-9/20"}, status=206)
    response = a_response({"ETag": '"a"'}, status=304)
    request = a_request({"Range": "bytes=15-"})
    assert on_response(request, response, validation(part), PRIVATE, now=NOW) == Refetch()


@pytest.mark.parametrize(
    ("asked", "told", "is_confirmed"),
    [
        ({"If-None-Match": '"a"'}, {"ETag": '"a"'}, True),
        ({"If-None-Match": '"a"'}, {}, True),
        ({"If-None-Match": '"a", "z"'}, {}, False),
        ({"If-None-Match": '"z"'}, {}, False),
        ({"If-None-Match": "*"}, {}, False),
        ({"If-Modified-Since": date(-500)}, {}, True),
        ({"If-Modified-Since": date(-400)}, {"Last-Modified": date(-500)}, True),
        ({"If-Modified-Since": date(-400)}, {}, False),
        ({}, {}, False),
    ],
)
def test_a_304_to_the_caller_confirms_only_what_it_names(asked: Fields, told: Fields, is_confirmed: bool) -> None:
    stored = a_stored({"ETag": '"a"', "Last-Modified": date(-500)}, fresh_for_s=-1)
    response = a_response(told, status=304)
    decision = on_response(a_request(asked), response, Fetch("stale", stored=stored), PRIVATE, now=NOW)
    if is_confirmed:
        assert isinstance(decision, Freshen)
        assert isinstance(decision.answer, NotModified)
    else:
        assert isinstance(decision, Pass)


def after_head(fields: Fields, *, stored: StoredResponse, rules: Rules = PRIVATE, status: int = 200) -> object:
    response = a_response(fields, status=status)
    return on_head_response(a_request(method="HEAD"), response, stored, rules, now=NOW)


def test_a_head_response_is_compared_by_length_where_the_body_came_in_chunks() -> None:
    stored = a_stored({"Cache-Control": "max-age=60"}, body=b"12345")
    same, other = after_head({"Content-Length": "5"}, stored=stored), after_head({"Content-Length": "6"}, stored=stored)
    assert isinstance(same, StoredResponse)
    assert same.fresh_until == NOW + 60
    assert isinstance(other, StoredResponse)
    assert other.fresh_until == NOW
    coded = a_stored({"Cache-Control": "max-age=60", "Content-Encoding": "gzip"}, body=b"12345")
    renewed = after_head({"Content-Length": "6"}, stored=coded)
    assert isinstance(renewed, StoredResponse)
    assert renewed.fresh_until == NOW + 60


def test_a_head_response_leaves_alone_what_it_says_nothing_of() -> None:
    stored = a_stored({"ETag": '"a"'})
    assert after_head({}, stored=stored, rules=Rules()) is None
    assert after_head({}, stored=stored, status=404) is None
    assert after_head({}, stored=a_stored(status=404)) is None
    assert after_head({}, stored=a_stored(method="HEAD")) is None
    assert after_head({"ETag": '"b"'}, stored=a_stored({"ETag": '"a"'}, fresh_for_s=-1)) is None
