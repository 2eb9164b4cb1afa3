"""What one call asks of the cache: the caller's wishes, and what is found out for it on its way from hop to hop.

A `call` is shared by all hops of its redirects; `wishes` are what a caller may say of it, `reads` what the store said
to the fast lane, `looks` and `through` how it ends where it has only looked, and how it goes on past middlewares that
have seen it. `typed` shows sessions to type checkers. May import the aiohttp seam and what is below the engine; no
other part of the engine.
"""
