"""One call of a session's request method: the caller's options for the cache, and the state of the call.

All hops of a call's redirects share one `call`. `wishes` reads the caller's options for the cache. May import `bases`,
`_aiohttp` and what is below the engine.
"""
