"""The servers, and connections to them.

A store asks its `topology` for the connection to the server that has a name, or splits a batch of names by connection.
A topology is one server, or the servers of a `cluster` that redis-py finds. Each server has an endpoint (`endpoints`),
which has one connection for each event loop: it is opened when it is first needed, and again when it was lost. `ways`
open it: by an address, or by asking sentinels each time, once `lookups` has looked their names up. A command that was
sent to the wrong server of a cluster is redirected to the right one without its caller noticing. May import
`connections`; knows nothing of records.
"""
