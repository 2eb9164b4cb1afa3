"""Finding one response in the store, and keeping it: one object for one request, which grows by what it can do.

`lookup` finds it; `leasing` is a look-up that may be the one process that asks the origin; `placing` puts an entry in
its place among the variants of its URL; and `storing`, which the exchange has, makes the entry when the last byte of
its body has come (`making`). `posted` keeps the response to a POST request that answers GET, `tagged` knows the tags.
May import `copies`, `questions`, `flight` and `runtime`.
"""
