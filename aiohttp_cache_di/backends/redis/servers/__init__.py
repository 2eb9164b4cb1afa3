"""Which servers there are, and a connection to the one that has a name.

A store asks its `topology` for the connection to the server that has a name, and has a batch parted by connection:
there is one server, or redis-py tells which ones a `cluster` has. Each server has an endpoint (`endpoints`), which
keeps one connection for each event loop, opens it when it is first needed, and another when that one is lost. `ways`
say how: by an address, or by asking sentinels each time. A command that was sent to the wrong server of a cluster goes
on to the right one, unseen by those who wait for it. May import `connections`; it knows nothing of what is kept there.
"""
