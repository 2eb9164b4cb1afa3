"""Finding the response to one request in the store, and storing it: a chain of classes, each of which adds one step.

`lookup` finds the entry. `placing` derives from it and writes an entry among the variants of its URL. `tagged` adds the
tags by which entries are purged. `storing` combines them: the exchange has one of it per request, and it makes the
entry (`making`) when the last byte of the body has arrived. `locations` are what redirects say: whether they may be
stored, and where they lead. `posted` stores a response to POST that answers GET, too. May import `copies`, `questions`,
`flight` and `runtime`.
"""
