"""What a request asks of the store: its key, its partition, the rules for it, and what may answer it.

`question` makes that once, of what goes on the `wire`, and `remembered` keeps it; `hooks` tells where the user's own
methods have a say, `digest` which sessions send another Authorization each time. May import `calls` and what is below
the engine.
"""
