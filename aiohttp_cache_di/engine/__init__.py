"""The engine: one request's way, from the question to the answer; the one place where policy meets network and store.

It may import what lies below: backends, response, policy, keys, entries, telemetry, rfc9111. It is imported by the
middleware and the session. The policy decides and the backend keeps; the engine asks the one, reads and writes the
other, and talks with aiohttp.

A request becomes a *question* (`question`, `hooks`): key, partition, rules, and whether a plain hit may answer it. One
function, `policy.decide`, says what answers it; the lanes differ in what they need not look up, never in the rule::

    session.get()
      │  hits.FastLane            remembers the question of a call        ── plain hit ─▶ response
      ▼
    aiohttp's request, once per hop
      │  middleware               remembers the question of a request     ── plain hit ─▶ response
      ▼
    exchange.Exchange.run()       storing.find(), then decide(question, entry, now)
      ├─ Serve, NotModified …     steps ── answers                        ── hit ───────▶ response
      │     └─ if stale: a validation in the background (`background`): a request of its own that answers no one
      ├─ GatewayTimeout, Bypass   steps                                   ── 504, or the origin's answer
      └─ Fetch, Validate          sharing: is the same on its way, here or in another process?
            ├─ yes: decide() about what it brings                         ── collapsed ─▶ response
            └─ no:  a flight, which others may join
                 Exchange.fetch(): origin.ask(), then policy.on_response(), until that is an answer
                   ├─ Load, Refetch    look at another variant, or ask again without our condition
                   ├─ Store            the response is handed on now, and ──── miss ────▶ response
                   │                   recording copies its body as it is read; at its last byte
                   │                   storing puts the entry in its place, the flight ends with it,
                   │                   and the response says that it is stored (`describe`)
                   ├─ Freshen          a 304 has confirmed what is stored ── validated ─▶ response
                   ├─ ServeStale       in place of an error               ── stale ─────▶ response
                   └─ Pass             handed on, not stored; the next ones need not wait (hit-for-miss)

A *flight* (`flights`) is one request to the origin. It belongs to the ``async with`` of the exchange that began it, and
ends there, however that is left; only `Store` hands it over, to the recording of the body. Its end frees all that
wait, and gives the lease on the key back. They are told an entry, or why there is none (`Outcome`).

`runtime` has what a backend has going on in one event loop: flights, writes on their way, tasks in the background.
`hits` counts them too, and lets other tasks have their turn after some. `doubles` is for tests that put something else
in the place of the network or of the backend.
"""
