"""The engine: one request's way, from the question to the answer; the one place where policy meets network and store.

It may import what lies below: backends, response, policy, keys, entries, telemetry, rfc9111. It is imported by the
middleware and the session. The policy decides and the backend keeps; the engine asks the one, reads and writes the
other, and talks with aiohttp.

What a caller wishes of one call is in a `call`, which all hops of its redirects share, and which the middleware finds
by a context variable. A request becomes a *question* (`question`): key, partition, rules, and whether a plain hit may
answer it. `hooks` says, once per revision of a backend, which of the user's own methods have a say in keys, rules,
look-ups or storing; where one has, no shortcut is taken past it. One function, `policy.decide`, says what answers a
question; the lanes differ in what they need not look up, never in the rule::

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

For one request there is one `storing.ResponseStoring`. It is a `lookup.Lookup`, which looks for the response; a
`leasing.Leasing`, by which one process at a time asks the origin for it; and a `placing.Placing`, which puts it in its
place and clears it. All speak to the part of the backend's stack in this loop (`backends.wrap.loop`), which has the
writes on their way and the copies at hand. `recording` gives aiohttp's streams a `recorder.Recorder`.

A *flight* (`flights`) is one request to the origin. It belongs to the ``async with`` of the exchange that began it, and
ends there, however that is left; only `Store` hands it over, to the recording of the body. Its end frees all that
wait, and gives the lease on the key back. They are told an entry, or why there is none (`Outcome`).

`hit_classes` makes hits of a user's own ``response_class``. `additions` tells which sessions the fast lane may
answer: those whose classes add nothing to a request; `senders` knows the bases below the cache that send requests,
and whether they hand on what they were given. `looks` lets a base that limits rates send only what goes to the
origin, and `asking` lets a session say what is kept of its own requests; both make a request as aiohttp makes it, and
end it where the cache has been asked. Where a session has middlewares, which must see a request once, `through` sends
what has passed them by way of the base.

`runtime` has what a backend has going on in one event loop on behalf of requests: the flights, and the tasks in the
background; it passes reads and writes on to the stack's part of that loop, which it is told by the backend. `hits`
counts them too, and lets other tasks have their turn after some. `digest` knows sessions that log in by digest.
`posted` keeps a response to POST where it says that it answers GET (RFC 9110 §9.3.3).
`doubles` is for tests that put something else in the place of the network or of the backend; `door` is where a test
sees what goes to the origin, and answers it.
"""
