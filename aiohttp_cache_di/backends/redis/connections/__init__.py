"""One open connection to a server: sending commands, and matching replies to them.

A `connection` is shared by all tasks of its event loop: commands of one turn of the loop are sent together, and replies
come back in order. `limits` says how many commands may be under way, and notices a server that sends no replies. `wire`
encodes commands, and parses replies by hiredis. If redis-py's stream cannot be taken over, `driven` does the same by
its public methods. May import `_redis`, `tasks` and errors; this package does not know keys, records, or where its
server is.
"""
