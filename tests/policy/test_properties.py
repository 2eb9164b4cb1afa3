"""Properties of the policy over many inputs, and a stateful model of whole conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec.structs import replace
from multidict import CIMultiDict

from aiohttp_cache_di import policy
from aiohttp_cache_di.policy import Plan, Rules, Serve, Store
from aiohttp_cache_di.rfc9111.freshness import current_age_s
from aiohttp_cache_di.rfc9111.messages import Request, StoredResponse
from tests.messages import NOW, PRIVATE, a_request, a_response, a_stored, date, fields_of
from tests.sync_cache import Answer, OriginDownError, Reply, SyncCache

CACHE_CONTROL = st.lists(
    st.sampled_from(
        [
            "max-age=0",
            "max-age=5",
            "max-age=60",
            "max-age=x",
            "s-maxage=5",
            "no-cache",
            "no-store",
            "private",
            "public",
            "must-revalidate",
            "stale-while-revalidate=30",
            "stale-if-error=30",
            "immutable",
            "max-stale=10",
            "min-fresh=10",
            "only-if-cached",
            'no-cache="X-A"',
        ]
    ),
    max_size=4,
).map(", ".join)

RESPONSE_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "Cache-Control": CACHE_CONTROL,
        "Expires": st.sampled_from([date(60), date(-60), "0"]),
        "Age": st.sampled_from(["0", "30", "x", "5, 60"]),
        "Last-Modified": st.sampled_from([date(-1000), "x"]),
        "ETag": st.sampled_from(['"a"', 'W/"a"', "a", ""]),
        "Vary": st.sampled_from(["Foo", "*", "Foo, Bar"]),
        "Date": st.sampled_from([date(), date(-10), date(10), "x"]),
        "Content-Range": st.sampled_from(["bytes 0-9/10", "x"]),
        "Content-Encoding": st.just("gzip"),
        "Connection": st.just("X-A"),
    },
)
REQUEST_FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("Cache-Control"), CACHE_CONTROL),
        st.just(("Pragma", "no-cache")),
        st.tuples(st.just("If-None-Match"), st.sampled_from(['"a"', '"b"', "*", ""])),
        st.tuples(st.just("If-Modified-Since"), st.sampled_from([date(-2000), date(), "x"])),
        st.just(("If-Match", '"a"')),
        st.tuples(st.just("Range"), st.sampled_from(["bytes=0-4", "bytes=-4", "bytes=20-", "x"])),
        st.tuples(st.just("If-Range"), st.sampled_from(['"a"', date(-1000)])),
        st.tuples(st.just("Foo"), st.sampled_from(["1", "2"])),
    ),
    max_size=3,
    unique_by=lambda line: line[0],
)
REQUESTS = st.builds(a_request, REQUEST_FIELDS, method=st.sampled_from(["GET"] * 6 + ["HEAD", "POST"]))
RARELY = st.sampled_from([False, False, False, False, True])
RULES = st.builds(
    Rules,
    cache_control=st.booleans(),
    shared=st.booleans(),
    lifetime_s=st.sampled_from([None, 60, float("inf"), 0]),
    override_origin=RARELY,
    refresh=RARELY,
    only_if_cached=RARELY,
    stale_if_error_s=st.sampled_from([None, 30.0, float("inf")]),
    stale_while_revalidate_s=st.sampled_from([None, 30.0]),
)
STORED = st.builds(
    a_stored,
    RESPONSE_FIELDS,
    status=st.sampled_from([200, 206, 404]),
    method=st.sampled_from(["GET", "HEAD"]),
    fresh_for_s=st.sampled_from([float("-inf"), -100, 0, 5, 60, float("inf")]),
)
OFFSETS = st.floats(min_value=0, max_value=1000)


@given(REQUESTS, st.none() | STORED, RULES, OFFSETS)
def test_a_decision_depends_on_nothing_but_its_arguments(
    request_: Request, stored: StoredResponse | None, rules: Rules, offset_s: float
) -> None:
    first = policy.on_request(request_, stored, rules, now=NOW + offset_s)
    assert policy.on_request(request_, stored, rules, now=NOW + offset_s) == first


@given(REQUESTS, STORED, RULES, OFFSETS, st.sampled_from([200, 206, 304, 404, 500, 503]), RESPONSE_FIELDS)
def test_every_answer_of_the_origin_has_a_decision(
    request_: Request, stored: StoredResponse, rules: Rules, offset_s: float, status: int, fields: dict[str, str]
) -> None:
    now = NOW + offset_s
    plan = policy.on_request(request_, stored, rules, now=now)
    if not isinstance(plan, Plan):
        return
    response = a_response(fields, status=status, received_at=now)
    decision = policy.on_response(request_, response, plan, rules, now=now, candidates=(stored,))
    assert decision == policy.on_response(request_, response, plan, rules, now=now, candidates=(stored,))
    if isinstance(decision, Store):
        assert "no-store" not in response.headers.get("Cache-Control", "")
        assert decision.fresh_until <= decision.store_until
        assert "set-cookie" in decision.drop
    assert policy.on_failure(plan, rules, request_, now=now, is_reachable=True) == policy.on_failure(
        plan, rules, request_, now=now, is_reachable=True
    )


@given(REQUESTS, STORED, RULES, OFFSETS, OFFSETS)
def test_what_is_fresh_now_was_fresh_before(
    request_: Request, stored: StoredResponse, rules: Rules, one_s: float, other_s: float
) -> None:
    early, late = sorted((NOW + one_s, NOW + other_s))
    then = policy.on_request(request_, stored, rules, now=late)
    if isinstance(then, Serve) and not then.stale:
        before = policy.on_request(request_, stored, rules, now=early)
        assert isinstance(before, Serve)
        assert not before.stale
        assert before.age_s <= then.age_s


@given(STORED, OFFSETS)
def test_the_age_that_is_stated_is_the_age(stored: StoredResponse, offset_s: float) -> None:
    decision = policy.on_request(a_request(), stored, PRIVATE, now=NOW + offset_s)
    if isinstance(decision, Serve):
        assert decision.age_s == int(current_age_s(stored, now=NOW + offset_s))


@dataclass
class Fact:
    """What the reference model knows of one response that the origin gave.

    Args:
        selecting: the requests that it may answer, by header fields; one more for each 304 with another Vary.
    """

    url: str
    tag: str
    selecting: list[dict[str, str | None]]
    no_store: bool
    max_age_s: float
    confirmed_at: float
    is_outdated: bool = False


class Conversation(RuleBasedStateMachine):
    """Random requests through a cache, each answer checked against what the origin has said.

    The model is simple because it does not predict: it only knows what the origin meant by each response, which its
    body names, and so whether a cache might have given it.
    """

    URLS: ClassVar[tuple[str, ...]] = ("http://example.org/a", "http://example.org/b")

    def __init__(self) -> None:
        super().__init__()
        self.cache = SyncCache(self.origin, replace(PRIVATE, max_variants=3))
        self.facts: dict[bytes, Fact] = {}
        self.versions = dict.fromkeys(self.URLS, 0)
        self.is_down = False
        self.options: tuple[int, bool, str, bool, bool] = (5, False, "", True, False)

    def tag(self, request: Request) -> str:
        return f'"{self.versions[request.url]}-{request.headers.get("Foo", "")}"'

    def confirm(self, request: Request, tag: str | None, selecting: dict[str, str | None]) -> None:
        """The origin says again what it has said of the representation called *tag*, or of any that it may mean."""
        for fact in self.facts.values():
            is_meant = self.may_answer(fact, request) if tag is None else fact.tag == tag
            if fact.url == request.url and is_meant:
                fact.confirmed_at, fact.max_age_s = self.cache.now, max(fact.max_age_s, self.options[0])
                fact.is_outdated = fact.is_outdated and tag is None
                if selecting:
                    fact.selecting.append(selecting)

    @staticmethod
    def may_answer(fact: Fact, request: Request) -> bool:
        """Whether the request has what one has that the response was selected by."""
        return any(one == {name: request.headers.get(name) for name in one} for one in fact.selecting)

    def origin(self, request: Request) -> Reply:
        if self.is_down:
            raise OriginDownError
        if request.method == "POST":
            self.versions[request.url] += 1
            for fact in self.facts.values():
                fact.is_outdated = fact.is_outdated or fact.url == request.url
            return Reply()
        max_age_s, no_store, vary, has_tag, must_revalidate = self.options
        headers = fields_of({"Date": date(self.cache.now - NOW), "Cache-Control": f"max-age={max_age_s}"})
        if no_store:
            headers.add("Cache-Control", "no-store")
        if must_revalidate:
            headers.add("Cache-Control", "must-revalidate")
        if vary:
            headers["Vary"] = vary
        tag = self.tag(request)
        selecting = {name: request.headers.get(name) for name in vary.split(", ") if name}
        if tag in request.headers.get("If-None-Match", ""):
            headers["ETag"] = tag
            self.confirm(request, tag, selecting)
            return Reply(304, headers, b"")
        if request.method == "HEAD":  # which speaks of the response to GET too (RFC 9111 §4.3.5)
            self.confirm(request, tag if has_tag else None, selecting)
        if has_tag:
            headers["ETag"] = tag
        body = f"{len(self.facts)}".encode()
        self.facts[body] = Fact(request.url, tag, [selecting], no_store, max_age_s, self.cache.now)
        return Reply(200, headers, body if request.method == "GET" else b"")

    def check(self, request: Request, answer: Answer, sent: int) -> None:
        if not answer.from_cache or answer.status != 200:
            return
        fact = self.facts[answer.body]
        assert fact.url == request.url
        assert not fact.no_store
        if len(self.cache.sent) > sent and not self.is_down:
            assert fact.tag == self.tag(request)  # the origin has just confirmed it
            return
        assert not fact.is_outdated
        assert self.may_answer(fact, request)
        if not answer.stale:
            assert self.cache.now - fact.confirmed_at < fact.max_age_s
        else:
            assert self.is_down

    @rule(
        max_age_s=st.sampled_from([0, 5, 60]),
        no_store=st.booleans(),
        vary=st.sampled_from(["", "Foo", "Bar", "Foo, Bar"]),
        has_tag=st.booleans(),
        must_revalidate=st.booleans(),
    )
    def change_mind(self, max_age_s: int, no_store: bool, vary: str, has_tag: bool, must_revalidate: bool) -> None:
        self.options = (max_age_s, no_store, vary, has_tag, must_revalidate)

    @rule(
        url=st.sampled_from(URLS),
        fields=st.fixed_dictionaries(
            {},
            optional={
                "Foo": st.sampled_from(["1", "2"]),
                "Bar": st.sampled_from(["1", "2"]),
                "Cache-Control": st.sampled_from(["no-cache", "no-store", "max-age=3"]),
            },
        ),
    )
    def get(self, url: str, fields: dict[str, str]) -> None:
        request, sent = a_request(fields, url=url), len(self.cache.sent)
        try:
            answer = self.cache.send(request)
        except OriginDownError:
            return
        self.check(request, answer, sent)

    @rule(url=st.sampled_from(URLS))
    def head(self, url: str) -> None:
        if not self.is_down:
            self.cache.send(Request("HEAD", url, CIMultiDict()))

    @precondition(lambda self: not self.is_down)
    @rule(url=st.sampled_from(URLS))
    def post(self, url: str) -> None:
        self.cache.send(a_request(method="POST", url=url))

    @rule(seconds=st.sampled_from([1.0, 4.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.cache.now += seconds

    @rule(is_down=st.booleans())
    def break_or_mend_the_line(self, is_down: bool) -> None:
        self.is_down = is_down


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
