"""HTTP caching as RFC 9111 defines it, as pure functions over immutable messages.

This room is the standard alone: no user's rule, no clock, no loop, no client, no log, so that every sentence of it can
be tested by itself. It may import the standard library, msgspec and multidict's types, and nothing of this package but
the leaves beside it. How its parts move together:

- ``messages`` are what all others speak of: a request, a response, a stored response.
- ``fields``, ``dates`` and ``directives`` read header fields, and forgive what the standard forgives.
- ``storability`` (§3), ``freshness`` (§4.2), ``vary`` (§4.1), ``validation`` (§4.3), ``ranges`` (§3.3) and
  ``invalidation`` (§4.4) are one question each, asked by `policy`, which joins the answers to a decision.
- ``groups`` (RFC 9875) are responses that an origin has invalidated together.
- ``cache_status`` (RFC 9211) says in a field what was decided.
"""
