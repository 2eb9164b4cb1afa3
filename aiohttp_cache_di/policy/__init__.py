"""The policy: from a request, what is stored, the user's rules and the time to one decision. Pure, and all of it here.

=====================  ====================================================================================
`decide`               what answers a question: a plain hit, or what `on_request` says
`on_request`           answer from the store, validate, or send the request on
`not_at_hand`          that, where what is stored could not be looked at
`may_be_used_alone`    whether a stored redirect may be used whatever it leads to; else `hop_anew`
`on_response`          store the origin's response, use it on what is stored, or hand it on
`on_post_response`     what of GET the response to POST answers
`on_failure`           what to answer when the origin does not
`on_head_response`     what the answer to a HEAD request says of a stored GET response
`background_plan`      how to validate what was served stale
`select_variant`       which of a URL's stored responses a request selects
`place_variant`        where among them a new one goes
`invalidated_urls`     what an unsafe request makes outdated
`invalidated_groups`   which groups of its origin an unsafe request makes outdated
=====================  ====================================================================================

`rfc9111` knows the standard, this room knows the user's wishes as well, and is where both come to one answer. It may
import `rfc9111` and the leaves beside it, and neither aiohttp nor a clock: the time is an argument, and what is decided
is done by the engine, or by a test. How its parts move together:

- ``rules/`` is how users say what they want, and what of it holds for one request.
- ``requests/`` decides about a request; its ``question`` settles plain hits by a few comparisons.
- ``responses/`` decides about what the origin answers, or about its failure, and where a response goes.
- ``lifetimes`` tells for how long a response may be used and kept, ``parts`` what completes a part; ``tracing`` writes
  down the way to a decision, where that is asked for.
- ``decisions`` has all outcomes as immutable values. A ``match`` on them that ends in ``assert_never`` is the whole of
  what a driver of the policy needs.
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
    may_be_cached,
    needs_policy,
    on_request,
)
from aiohttp_cache_di.policy.requests.reuse import serve
from aiohttp_cache_di.policy.responses.failure import not_at_hand, on_failure
from aiohttp_cache_di.policy.responses.not_modified import on_head_response
from aiohttp_cache_di.policy.responses.response import may_answer_get, on_post_response, on_response
from aiohttp_cache_di.policy.responses.variants import Placement, place_variant
from aiohttp_cache_di.policy.rules.resolved import Rules
from aiohttp_cache_di.policy.rules.tags import Tags, tags_of
from aiohttp_cache_di.rfc9111.groups import invalidated_groups, origin_of
from aiohttp_cache_di.rfc9111.invalidation import invalidated_urls, is_unsafe
from aiohttp_cache_di.rfc9111.ranges import combine, content_range
from aiohttp_cache_di.rfc9111.vary import select_variant, variant_key, vary_digest

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
    "Placement",
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
    "Tags",
    "Validate",
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
    "may_be_cached",
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
    "variant_key",
    "vary_digest",
]
