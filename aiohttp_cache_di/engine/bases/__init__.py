"""The classes that stand beside the cache in a session's family: what they add to a request, and what they do to it.

`additions` and `senders` read that off the code (`handing`: the arguments that go on; `results`: what becomes of an
answer), so that a hit may pass by a base that would only have sent it. `sending` sends what the fast lane does not
answer, `asking` lets a session's own requests end where the cache is asked, and `doubles` finds what a test has put in
the place of the network or of the backend. May import `calls`, `questions` and what has one event loop (`runtime`).
"""
