"""The engine: one request's way, from the question to the answer; the one place where policy meets network and store.

It may import what lies below: backends, response, policy, keys, entries, telemetry, rfc9111. It is imported by the
middleware and the session. The policy decides and the backend keeps; the engine asks the one, reads and writes the
other, and talks with aiohttp.

What a caller wishes of one call is in a `calls.call`, which all hops of its redirects share, and which the middleware
finds by a context variable. A request becomes a *question* (`questions`): key, partition, rules, and whether a plain
hit may answer it. Where a user's own method has a say in that, no shortcut is taken past it (`questions.hooks`). One
function, `policy.decide`, says what answers a question; the lanes differ in what they need not look up, never in the
rule::

    session.get()
      │  hits.FastLane            remembers the question of a call        ── plain hit ─▶ response
      │    └─ reads.EarlyRead     what it has read in vain goes along, in the call, so that the store is asked once
      ▼
    aiohttp's request, once per hop
      │  middleware               remembers the question of a request     ── plain hit ─▶ response
      ▼
    exchange.Exchange.run()       lookup.find(), then decide(question, entry, now)
      │                             └─ read(): pending writes, what is at hand, the user's methods, the store
      ├─ Serve, NotModified …     answers                                 ── hit ───────▶ response
      │     └─ if stale: a validation in the background (`background`): a request of its own that answers no one
      ├─ GatewayTimeout, Bypass                                           ── 504, or the origin's answer
      └─ Fetch, Validate          sharing: is the same on its way, here or in another process?
            ├─ yes: decide() about what it brings                         ── collapsed ─▶ response
            └─ no:  a flight, which others may join
                 fetching.fetch(): origin.ask(), then policy.on_response(), until that is an answer
                   ├─ Load, Refetch    read() another variant, or ask again without our condition
                   ├─ Store            the response is handed on now, and ──── miss ────▶ response
                   │                   recording copies its body as it is read: framing tells whether
                   │                   it has an end, budget how much memory all copies may take; a
                   │                   large one goes into a store that can do so as it comes (`spooled`).
                   │                   At its last byte storing puts the entry in its place, the flight
                   │                   ends with it, and the response says that it is stored (`describe`)
                   ├─ Complete         the same, for the rest of a stored part, which is put before it
                   ├─ Freshen          a 304 has confirmed what is stored ── validated ─▶ response
                   ├─ ServeStale       in place of an error               ── stale ─────▶ response
                   └─ Pass             handed on, not stored; the next ones need not wait (hit-for-miss)

The rooms, each of which says what it may import; imports point down this list::

    exchange    one hop of one call: the loop above
    background  a validation in the background
    fetching    one request on its way to the origin, and what is done with what that answers
    sharing     whether the response to one request answers another, here or in another process
    keeping/    finding one response in the store, the lease on its key, and putting it in its place
    copies/     a copy of a body, taken while its reader reads
    origin      sending one request to the origin, and an eye on what comes back
    hits        the fast lane: a plain hit before aiohttp makes a request
    bases/      the other classes of a session's family: what they add to a request, and how it is sent through them
    questions/  what a request asks of the store: key, partition, rules
    runtime     what a backend has going on in one event loop on behalf of requests
    answering/  what the caller gets, and what an answer of the origin says of the cache
    calls/      what one call asks of the cache
    flights     one request to the origin per key at a time
    flight      one request to the origin that others wait for
    counting    counting hits, and letting other tasks have their turn after some
    watching    telling those who watch a cache what became of a request
    notes       errors that cost a copy or a hit, and nothing else
    door        where a test sees what goes to the origin, and answers it

A *flight* (`flight`) is one request to the origin. It belongs to the ``with`` of the exchange that began it, and
ends there, however that is left; only `Store` hands it over, to the recording of the body. Its end frees all that
wait, and gives the lease on the key back. They are told an entry, or why there is none (`Outcome`).

`keeping`, `copies` and `runtime` speak to the part of the backend's stack in this loop (`backends.wrap.loop`), which
has the writes on their way and the copies at hand.
"""
