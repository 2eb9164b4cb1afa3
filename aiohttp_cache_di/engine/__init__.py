"""The engine: takes one request from the caller's call to the response, between the policy, the store and the origin.

The policy decides, the backend stores, aiohttp sends: the engine asks the policy what to do, does it, and is the only
part of the package that knows all three. It may import backends, response, policy, keys, entries, telemetry and
rfc9111; the middleware and the session import it.

The other docstrings use these terms:

- A *call* is one call of ``session.get()``, all hops of its redirects included (`calls.call`). It carries the caller's
  options for the cache; the middleware finds it in a context variable.
- A *hop* is one request of a call (`hop`). The parts that answer it pass it on as one object.
- A *question* is what one request asks of the cache (`questions`): its key, its partition (a digest of the credentials
  that it is sent with) and the rules that apply. Methods that a user overrides take part in making and answering it; no
  shortcut skips them (`questions.hooks`).
- A *plain hit* is a fresh response that is used as it is stored: no condition, no range, nothing to validate.
- A *flight* is one request to the origin that others may wait for (`flights`).
- A *lease* is a lock on a key in the store, with a time limit: its holder is the one process that asks the origin for
  that key. The others wait, and look the key up again.
- An entry is *at hand* if it can be read without waiting: it is about to be written, or there is a copy in memory.

`policy.decide` alone decides what answers a question. The paths below differ in what they have to look up before they
call it, never in the rule::

    session.get()
      │  sessions.fast_lane       knows the question of a call from before ── plain hit ─▶ response
      │    └─ calls.EarlyRead     what it read without a hit stays in the call: the store is asked once per request
      ▼
    aiohttp makes the request, once per hop
      │  middleware               knows the question of a request          ── plain hit ─▶ response
      ▼
    exchange.Exchange.run()       lookup.find(), then decide(question, entry, now)
      │                             └─ read(): pending writes, what is at hand, the user's methods, the store
      ├─ Serve, NotModified …     answers                                  ── hit ───────▶ response
      │     └─ if stale: validated in the background (`background`), by a request of its own without a caller
      ├─ GatewayTimeout           only-if-cached, and nothing may be used  ── 504 ───────▶ response
      ├─ Bypass                   the origin answers, nothing is stored    ── bypass ────▶ response
      └─ Fetch, Validate          sharing: is an equal request under way, here or in another process?
            ├─ yes: wait for it, then decide() about its entry             ── collapsed ─▶ response
            └─ no:  start a flight, which others may join
                 fetching.fetch(): origin.ask(), then policy.on_response(), until there is a response
                   ├─ Load, Refetch    read() another variant, or ask again without our condition
                   ├─ Store            hand the response to the caller now ── miss ──────▶ response
                   │                     recording copies the body while the caller reads it: `framing` tells
                   │                     whether its end can be recognised, `budget` limits the memory of all copies,
                   │                     `spooled` writes a large body to a store that takes it in pieces
                   │                     last byte: `storing` makes the entry and writes it, the flight ends with it,
                   │                     and the response's attributes say that it is stored (`describe`)
                   ├─ Complete         as Store, with a stored part put before the rest that has come
                   ├─ Freshen          a 304: update the stored response   ── validated ─▶ response
                   ├─ ServeStale       a stale response, not the error     ── stale ─────▶ response
                   └─ Pass             hand it on, do not store it; for a while, later requests for the key do not
                                       wait for each other (hit-for-miss)

The modules; imports point down this list::

    exchange       one hop of one call: the loop above
    background     validating a response in the background
    fetching       one request to the origin, and acting on its response
    sharing        using the response to another request, of this process or of another one
    storing/       making the entry of a response when its body has arrived, and writing it
    origin         sending one request to the origin, and noticing how it ends
    hop            one request of a call with what it is answered by, and its answers from stored entries
    lookup         finding the response to a request in the store
    copies/        copying a body while its reader reads it
    sessions/      what a session does before aiohttp makes a request: the fast lane, passing by its other base classes
    questions/     what a request asks of the cache: key, partition, rules
    runtime        the state of one backend in one event loop: flights, background tasks, its part of the store's stack
    answering/     responses from stored entries, and what a response from the origin says about the cache
    flights        requests to the origin that others may wait for, by key
    hits_for_miss  keys of which requests need not wait for each other
    fairness       yielding to other tasks now and then
    watching       reporting each request to metrics, traces and logs
    calls/         what one call asks of the cache
    bases/         the other base classes of a session: what they add to a request, and making it without them
    notes          logging errors that cost a hit or a copy and do not concern the caller
    taps           where tests see requests to the origin, and answer them

On a miss, `lookup` asks the store, `sharing` decides who asks the origin, in this process (a flight) and among
processes (a lease), and `storing` writes the response. Of a URL whose responses vary, `policy.select_variant` says
which variant a request reads, `policy.wanted_variant` by which variant's key requests share a flight and a lease, and
`policy.place_variant` under which key a response is written.

The life of a flight: `flights` starts it, and the ``with`` statement of the exchange ends it at the latest, after an
exception too. Only for `Store` does it outlive that ``with``: then the recording of the body ends it. A flight ends
with an entry, or with the reason why there is none (`Outcome`); its end wakes all requests that wait, and gives the
lease back. A flight whose body stalls is *late*: it goes on, but nothing waits for it or its lease any longer.

`lookup`, `storing`, `copies` and `runtime` use the stack of the backend in this event loop (`backends.wrap.loop`),
which holds pending writes and copies in memory.
"""
