"""One call of a session's request method: the caller's options for the cache, and the state of the call.

All hops of a call's redirects share one `call`. `wishes` reads the caller's options for the cache, `reads` is what the
fast lane has read from the store. `looks` and `through` serve sessions with further base classes below the cache: a
trial request that ends before the origin is asked, and sending a request through those classes after its middlewares.
`typed` describes sessions to type checkers. May import `_aiohttp` and what is below the engine; no other part of the
engine.
"""
