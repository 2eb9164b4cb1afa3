"""The other base classes of a session, such as a user's rate limiter: what they add to requests and how they send them.

`additions` and `senders` analyse the bytecode of these classes (`handing`: which arguments a call passes on; `results`:
what happens to its result), so that a hit can skip a class that would only have sent the request. `sending` sends the
requests that the fast lane does not answer. `asking` runs a session's own requests only as far as the cache, to tell
their keys. `doubles` recognises test doubles of the network or of the backend. May import `calls`, `questions` and
`runtime`.
"""
