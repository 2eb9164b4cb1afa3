"""One open connection to a server: what is sent over it, and which reply is whose.

A `connection` is shared by all tasks of its event loop: what a tick of the loop brings leaves together, and replies
come back in order. `wire` turns commands into bytes, and has hiredis turn bytes into replies. Where redis-py's stream
cannot be taken over, `driven` does the same through its public methods. May import `_redis`, `wrap.tasks` and errors;
it knows no key, no record, and not where its server is.
"""
