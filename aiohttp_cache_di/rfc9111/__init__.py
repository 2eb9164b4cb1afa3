"""HTTP caching as RFC 9111 defines it, as pure functions over immutable messages.

It contains the standard alone: no user's rules, no clock, no event loop, no client, no logging, so that each sentence
of the standard can be tested by itself. It may import the standard library, msgspec and multidict's types, and of this
package only its leaf modules. Its parts:

- ``messages`` are the data that all others use: a request, a response, a stored response.
- ``fields``, ``dates`` and ``directives`` parse header fields, as leniently as the standard asks.
- ``storability`` (§3), ``freshness`` (§4.2), ``vary`` (§4.1), ``validation`` (§4.3), ``ranges`` (§3.3) and
  ``invalidation`` (§4.4) answer one question each; `policy` asks them, and makes a decision of the answers.
- ``groups`` (RFC 9875) are responses that an origin invalidates together.
- ``cache_status`` (RFC 9211) writes the decision as a header field.
"""
