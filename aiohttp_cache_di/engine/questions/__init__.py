"""What a request asks of the cache: its key, its partition and its rules, which decide what may answer it.

`question` makes the question from the request as it will be sent (`wire`), and `remembered` keeps it for later requests
to the same URL. `hooks` finds the user's methods that take part, and `digest` the sessions that log in by digest, whose
Authorization differs each time. May import `calls` and what is below the engine.
"""
