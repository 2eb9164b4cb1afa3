"""The policy: it decides about each request and response, from what is stored, the user's rules and the time.

=====================  ====================================================================================
`decide`               decide about a question: a plain hit, or the decision of `on_request`
`on_request`           answer from the store, validate, or forward the request
`not_at_hand`          the same decision, if the store could not be read
`may_be_used_alone`    whether a stored redirect may be used whatever it leads to; otherwise `hop_anew`
`on_response`          store the origin's response, update a stored one with it, or pass it on
`on_post_response`     the GET request that the response to a POST request answers
`on_failure`           the answer if the origin does not respond
`on_head_response`     update a stored GET response after a HEAD request
`background_plan`      how to validate a response that was served stale
`select_variant`       which of a URL's stored responses a request selects
`wanted_variant`       which of them a request is likely to get from the origin
`place_variant`        where a new response is stored among them
`invalidated_urls`     the URLs whose stored responses an unsafe request invalidates
`invalidated_groups`   the groups of responses that an unsafe request invalidates
=====================  ====================================================================================

`rfc9111` implements the standard; this room combines it with the user's rules. It is pure: it may import `rfc9111` and
the leaves beside it, but neither aiohttp nor a clock. The time is an argument, and the engine (or a test) carries out
the decisions. Its parts:

- ``rules/`` reads what users configure, and resolves the rules for one request.
- ``requests/`` decides about a request; its ``question`` recognises plain hits by a few comparisons.
- ``responses/`` decides about the origin's response or its failure, and where a response is stored.
- ``lifetimes`` calculates how long a response is fresh and kept, ``parts`` completes partial responses, and ``tracing``
  records the way to a decision if requested.
- ``decisions`` has all decisions as immutable values. A ``match`` on them that ends in ``assert_never`` is all that a
  driver of the policy needs.
"""

from __future__ import annotations

from aiohttp_cache_di.policy.decisions import (
    Bypass,
    Complete,
    Fetch,
    Freshen,
    GatewayTimeout,
    Load,
    NotModified,
    Partial,
    Pass,
    Plan,
    RangeNotSatisfiable,
    Refetch,
    RequestDecision,
    ResponseDecision,
    Reuse,
    Serve,
    ServeStale,
    Store,
    Validate,
)
from aiohttp_cache_di.policy.lifetimes import answers_others
from aiohttp_cache_di.policy.requests.question import (
    PLAIN_HIT,
    FullQuestion,
    PlainHit,
    Question,
    decide,
    may_be_plain,
    may_hop,
)
from aiohttp_cache_di.policy.requests.redirects import hop_anew, leads_on, may_be_used_alone
from aiohttp_cache_di.policy.requests.request import (
    NEEDING_POLICY,
    PRIVATE_TO_CALLER,
    background_plan,
    needs_policy,
    on_request,
)
from aiohttp_cache_di.policy.requests.reuse import serve
from aiohttp_cache_di.policy.responses.failure import not_at_hand, on_failure
from aiohttp_cache_di.policy.responses.not_modified import on_head_response
from aiohttp_cache_di.policy.responses.response import may_answer_get, on_post_response, on_response
from aiohttp_cache_di.policy.responses.variants import place_variant
from aiohttp_cache_di.policy.rules.book import Rules
from aiohttp_cache_di.policy.rules.tags import tags_of
from aiohttp_cache_di.rfc9111.groups import invalidated_groups, origin_of
from aiohttp_cache_di.rfc9111.invalidation import invalidated_urls, is_unsafe
from aiohttp_cache_di.rfc9111.ranges import combine, content_range
from aiohttp_cache_di.rfc9111.vary import select_variant, vary_digest, wanted_variant

__all__ = [
    "NEEDING_POLICY",
    "PLAIN_HIT",
    "PRIVATE_TO_CALLER",
    "Bypass",
    "Complete",
    "Fetch",
    "Freshen",
    "FullQuestion",
    "GatewayTimeout",
    "Load",
    "NotModified",
    "Partial",
    "Pass",
    "PlainHit",
    "Plan",
    "Question",
    "RangeNotSatisfiable",
    "Refetch",
    "RequestDecision",
    "ResponseDecision",
    "Reuse",
    "Rules",
    "Serve",
    "ServeStale",
    "Store",
    "Validate",
    "answers_others",
    "background_plan",
    "combine",
    "content_range",
    "decide",
    "hop_anew",
    "invalidated_groups",
    "invalidated_urls",
    "is_unsafe",
    "leads_on",
    "may_answer_get",
    "may_be_plain",
    "may_be_used_alone",
    "may_hop",
    "needs_policy",
    "not_at_hand",
    "on_failure",
    "on_head_response",
    "on_post_response",
    "on_request",
    "on_response",
    "origin_of",
    "place_variant",
    "select_variant",
    "serve",
    "tags_of",
    "vary_digest",
    "wanted_variant",
]
