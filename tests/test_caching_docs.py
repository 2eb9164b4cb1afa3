"""The page on caching is true: its diagrams are followed, and the rows of its table are run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from aiohttp_cache_di import policy
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.policy import Bypass, Fetch, Rules, Store, Validate
from aiohttp_cache_di.policy.parts import asks_for_rest
from aiohttp_cache_di.policy.requests.request import own_conditions
from aiohttp_cache_di.policy.rules.book import Wishes
from aiohttp_cache_di.policy.rules.expiration import UrlExpiration
from aiohttp_cache_di.policy.tracing import Trace
from aiohttp_cache_di.rfc9111.cache_status import Detail, FwdReason
from aiohttp_cache_di.rfc9111.directives import request_directives, response_directives
from aiohttp_cache_di.rfc9111.freshness import current_age_s
from aiohttp_cache_di.rfc9111.messages import Request, Response, StoredResponse
from aiohttp_cache_di.rfc9111.ranges import Slice, Unsatisfiable, select_range
from aiohttp_cache_di.rfc9111.validation import conditions, if_range_holds, is_not_modified
from aiohttp_cache_di.telemetry import reasons
from tests.messages import NOW, PRIVATE, a_request, a_response, a_stored
from tests.policy.test_properties import OFFSETS, REQUESTS, RULES, STORED

ROOT = Path(__file__).parents[1]


def section(title: str, page: str = "docs/caching.md") -> str:
    found = re.search(rf"<!-- {title} -->\n(.*?)<!-- end -->", (ROOT / page).read_text(), re.S)
    assert found is not None
    return found[1]


@dataclass(frozen=True)
class Diagram:
    """A flowchart of yes-no questions: the next step from each, and the decision at each end."""

    ways: Mapping[tuple[str, str], str]
    ends: Mapping[str, str]

    @classmethod
    def read(cls, title: str) -> Diagram:
        text = section(title)
        ways = {(m[1], m[2]): m[3] for m in re.finditer(r"^ +(\w+) -- (yes|no) --> (\w+)$", text, re.M)}
        ends = {m[1]: m[2] for m in re.finditer(r'^ +(\w+)\(\["(\w+)"\]\)$', text, re.M)}
        questions = set(re.findall(r'^ +(\w+)\{".*"\}$', text, re.M))
        assert {node for node, _ in ways} == questions
        assert all((question, answer) in ways for question in questions for answer in ("yes", "no"))
        assert set(ways.values()) - questions == set(ends)
        return cls(ways, ends)

    def walk_to(self, start: str, answer: Callable[[str], bool]) -> str:
        node = start
        while node not in self.ends:
            node = self.ways[node, "yes" if answer(node) else "no"]
        return node


def names(union: object) -> set[str]:
    return {member.__name__ for member in get_args(union)}


def test_every_decision_is_an_end_of_a_diagram() -> None:
    assert set(Diagram.read("request diagram").ends.values()) == names(policy.RequestDecision)
    assert set(Diagram.read("response diagram").ends.values()) == names(policy.ResponseDecision)


def may_be_used(request: Request, stored: StoredResponse, rules: Rules, now: float) -> bool:
    asked, said = request_directives(request.headers), response_directives(stored.headers)
    age_s, left_s = current_age_s(stored, now=now), stored.fresh_until - now
    if rules.refresh or asked.no_cache:
        return False
    forbidden = said.no_cache or said.must_revalidate
    forbidden = forbidden or (rules.shared and (said.proxy_revalidate or said.s_maxage_s is not None))
    if said.immutable and left_s > 0 and asked.max_age_s == 0:
        return True
    if asked.min_fresh_s is not None and left_s < asked.min_fresh_s:
        return False
    max_stale_s = -1.0 if asked.max_stale_s is None or forbidden else asked.max_stale_s
    if asked.max_age_s is not None and (age_s > asked.max_age_s or asked.max_age_s == 0):
        over_s = age_s - asked.max_age_s
        if over_s > max_stale_s:
            return False
    window_s = said.stale_while_revalidate_s
    if window_s is None:
        window_s = rules.stale_while_revalidate_s or 0
    if left_s > 0 or (not forbidden and left_s > -math.inf and -left_s <= max_stale_s):
        return True
    return not forbidden and asked.max_age_s is None and -left_s < window_s


def range_of(request: Request, stored: StoredResponse) -> Slice | Unsatisfiable | None:
    return select_range(request.headers["Range"], stored)


def wants_range(request: Request, stored: StoredResponse) -> bool:
    applies = stored.status in (200, 206) and request.method == "GET" and "Range" in request.headers
    return applies and if_range_holds(request.headers, stored)


def has_it(request: Request, stored: StoredResponse) -> bool:
    return stored.status in (200, 206) and is_not_modified(request.headers, stored) is True


def answers(request: Request, stored: StoredResponse) -> bool:
    if stored.status not in (200, 206):
        return True
    if "If-Match" in request.headers or "If-Unmodified-Since" in request.headers:
        return False
    if has_it(request, stored):
        return True
    return range_of(request, stored) is not None if wants_range(request, stored) else stored.status == 200


def answer_about_request(
    question: str, request: Request, stored: StoredResponse | None, rules: Rules, now: float
) -> bool:
    asked = request_directives(request.headers)
    only_if_cached = rules.only_if_cached or asked.only_if_cached
    if question == "method":
        allowed = request.method in ("GET", "HEAD")
        return allowed and not (rules.lifetime_s == 0 and rules.override_origin)
    if question in ("only", "only_fetch", "only_bypass"):
        return only_if_cached
    if question == "no_store":
        return asked.no_store and not only_if_cached
    selected = stored is not None and (stored.method == request.method or stored.method == "GET")
    if question == "selected" or stored is None or not selected:
        # Without a selected response there are no validators to send either.
        return selected
    found = {
        "usable": lambda: may_be_used(request, stored, rules, now),
        "answers": lambda: answers(request, stored),
        "unmodified": lambda: has_it(request, stored),
        "ranged": lambda: wants_range(request, stored),
        "satisfiable": lambda: isinstance(range_of(request, stored), Slice),
        "rest": lambda: asks_for_rest(request, stored, "partial") is not None,
        "rest_too": lambda: (
            not (rules.refresh or asked.no_cache) and asks_for_rest(request, stored, "partial") is not None
        ),
        "askable": lambda: (
            conditions(stored) != () and not own_conditions(request.headers) and answers(request, stored)
        ),
    }
    return found[question]()


@settings(max_examples=1000, deadline=None)
@given(REQUESTS, STORED, RULES, OFFSETS)
def test_the_diagram_of_requests_leads_to_the_decision(
    request_: Request, stored: StoredResponse | None, rules: Rules, offset_s: float
) -> None:
    rules, now = replace(rules, cache_control=True), NOW + offset_s
    if request_.headers.get("Foo") == "2":
        stored = None
    trace = Trace()
    decision = policy.on_request(request_, stored, rules, now=now, trace=trace)
    end = REQUEST_DIAGRAM.walk_to("method", lambda node: answer_about_request(node, request_, stored, rules, now))
    assert type(decision).__name__ == REQUEST_DIAGRAM.ends[end]
    told = iter(trace.steps)
    assert end == REQUEST_DIAGRAM.walk_to("method", lambda node: (step := next(told)).question == node and step.answer)
    assert next(told, None) is None
    assert policy.on_request(request_, stored, rules, now=now) == decision


FRESH = a_stored({"ETag": '"a"'})
HELD = a_stored({"ETag": '"a"', "Content-Range": "bytes 0-9/20"}, status=206)
ONLY = {"Cache-Control": "only-if-cached"}


@pytest.mark.parametrize(
    ("end", "request_", "stored"),
    [
        ("bypass", a_request(method="POST"), None),
        ("timeout_bypass", a_request(method="POST"), None),
        ("bypass_no_store", a_request({"Cache-Control": "no-store"}), FRESH),
        ("timeout", a_request(ONLY), None),
        ("timeout_fetch", a_request({**ONLY, "If-Match": '"a"'}), FRESH),
        ("fetch", a_request(), None),
        ("fetch_anew", a_request({"If-Match": '"a"'}), FRESH),
        ("validate", a_request({"Cache-Control": "no-cache"}), FRESH),
        ("validate_rest", a_request(), HELD),
        ("validate_rest_too", a_request(), replace(HELD, fresh_until=NOW - 5)),
        ("serve", a_request(), FRESH),
        ("not_modified", a_request({"If-None-Match": '"a"'}), FRESH),
        ("partial", a_request({"Range": "bytes=0-4"}), FRESH),
        ("unsatisfiable", a_request({"Range": "bytes=20-"}), FRESH),
    ],
)
def test_the_ends_of_the_diagram_of_requests_are_reached(
    end: str, request_: Request, stored: StoredResponse | None
) -> None:
    rules = replace(PRIVATE, only_if_cached=end == "timeout_bypass")
    reached = REQUEST_DIAGRAM.walk_to("method", lambda node: answer_about_request(node, request_, stored, rules, NOW))
    assert reached == end
    assert type(policy.on_request(request_, stored, rules, now=NOW)).__name__ == REQUEST_DIAGRAM.ends[end]


REQUEST_DIAGRAM = Diagram.read("request diagram")
RESPONSE_DIAGRAM = Diagram.read("response diagram")


TAGGED = a_stored({"ETag": '"a"'}, fresh_for_s=-5)
FALLBACK = a_stored({"Cache-Control": "stale-if-error=60"}, fresh_for_s=-5)
REST = Validate(HELD, (("Range", "bytes=10-"), ("If-Range", '"a"')), "partial", completes=True)
RESTING = {"ETag": '"a"', "Content-Range": "bytes 10-19/20", "Content-Length": "10"}
OURS = Validate(TAGGED, (("If-None-Match", '"a"'),), "stale")
REF = (
    policy.place_variant(
        a_stored({"ETag": '"a"'}, vary_fields=("foo",), vary_digest=b"1"),
        a_stored(vary_fields=("foo",), vary_digest=b"2"),
        max_variants=2,
        now=NOW,
    )
    .writes[-1]
    .variants[0]
)
RANGED = {"Range": "bytes=0-4"}
PART = {"Cache-Control": "max-age=5", "Content-Range": "bytes 0-4/10"}


@pytest.mark.parametrize(
    ("end", "plan", "response", "asked"),
    [
        ("freshen", OURS, a_response({"ETag": '"a"'}, status=304), {}),
        ("load", Validate(None, (), "vary-miss"), a_response({"ETag": '"a"'}, status=304), {}),
        ("refetch", OURS, a_response({"ETag": '"b"'}, status=304), {}),
        ("refetch_refused", OURS, a_response(status=431), {}),
        ("complete", REST, a_response(RESTING, status=206), {}),
        ("refetch_part", REST, a_response({**RESTING, "ETag": '"b"'}, status=206), {}),
        ("refetch_part", REST, a_response(status=416), {}),
        ("store", REST, a_response({"Cache-Control": "max-age=5"}), {}),
        ("pass_304", Fetch("uri-miss"), a_response({"ETag": '"b"'}, status=304), {"If-None-Match": '"b"'}),
        ("serve_stale", Fetch("stale", FALLBACK), a_response(status=503), {}),
        ("pass_unstorable", Fetch("stale"), a_response(status=503), {}),
        ("pass_unstorable", Fetch("uri-miss"), a_response({"Cache-Control": "no-store"}), {}),
        ("pass_unstorable", Fetch("uri-miss"), a_response(), {}),
        ("pass_part", Fetch("request", stored=TAGGED), a_response(PART, status=206), RANGED),
        ("store", Fetch("uri-miss"), a_response(PART, status=206), RANGED),
        ("store", OURS, a_response({"Cache-Control": "max-age=5"}), {}),
    ],
)
def test_the_ends_of_the_diagram_of_responses_are_reached(
    end: str, plan: policy.Plan, response: Response, asked: dict[str, str]
) -> None:
    decision = policy.on_response(a_request(asked), response, plan, PRIVATE, now=NOW, candidates=(REF,))
    assert type(decision).__name__ == RESPONSE_DIAGRAM.ends[end]


def test_all_that_cache_status_can_say_is_in_the_tables() -> None:
    rows = re.findall(r"^\| `((?:fwd|detail)=[a-z-]+)` \| (.+) \|$", section("reasons"), re.M)
    words = {f"fwd={token}": meaning for token, meaning in reasons.FORWARDED.items()}
    words |= {f"detail={token}": meaning for token, meaning in reasons.SERVED.items()}
    words |= {f"detail={token}": f"not stored: {meaning}" for token, meaning in reasons.RULES.items()}
    assert dict(rows) == words
    assert len(rows) == len(words)
    assert set(reasons.FORWARDED) == set(get_args(FwdReason))
    assert reasons.SERVED.keys() | reasons.RULES.keys() | reasons.DETAILS.keys() == set(get_args(Detail))


ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in section("precedence").splitlines()[2:]]


@pytest.mark.parametrize("row", ROWS, ids=[" ".join(row) for row in ROWS])
def test_the_rows_of_the_table_of_lifetimes_are_true(row: list[str]) -> None:
    mode, asked, pattern, default, said, expected = (None if cell == "none" else cell for cell in row)
    patterns: dict[str, UrlExpiration] = {}
    if pattern is not None:
        seconds, _, insist = pattern.partition(", ")
        patterns["example.org"] = UrlExpiration(int(seconds), override_origin=bool(insist))
    given: dict[str, Any] = (
        {} if default == "not given" else {"expire_after": None if default is None else int(default)}
    )
    backend = CacheBackend(urls_expire_after=patterns, cache_control=mode == "True", **given)
    request = a_request()
    rules = backend.rules_for(request.url, Wishes(expire_after=None if asked is None else int(asked)))
    plan = policy.on_request(request, None, rules, now=NOW)
    if isinstance(plan, Bypass):
        assert expected == "not stored"
        return
    assert isinstance(plan, Fetch)
    response = a_response({} if said is None else {"Cache-Control": said})
    decision = policy.on_response(request, response, plan, rules, now=NOW)
    if expected == "not stored":
        assert not isinstance(decision, Store)
    else:
        assert isinstance(decision, Store)
        assert decision.fresh_until - NOW == (math.inf if expected == "for ever" else int(expected or ""))
