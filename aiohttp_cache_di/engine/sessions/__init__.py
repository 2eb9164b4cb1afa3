"""What a session with the cache does with a call before aiohttp makes a request, besides what the middleware does.

`fast_lane` answers plain hits. `sending` sends the other calls, past or through the session's other base classes;
`doubles` answers them while a test has replaced the network or the backend. `probing` makes requests only as far as the
cache, to tell what is stored for them. `typed` describes sessions to type checkers. May import `bases`, `calls`,
`questions`, `answering`, `watching` and `runtime`.
"""
