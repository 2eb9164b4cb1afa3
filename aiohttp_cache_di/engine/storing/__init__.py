"""Storing the response to one request, from the arrival of its head to its entry among the variants of its URL.

`placing` derives from `lookup` and writes an entry among the variants of its URL. `tagging` adds the tags by which
entries are purged. `arriving` combines them: the exchange has one of it per request, and it makes the entry (`making`)
when the last byte of the body has arrived. `locations` are what redirects say: whether they may be stored, and where
they lead. `posted` stores a response to POST that answers GET, too. May import `copies`, `questions`, `flight`,
`lookup` and `runtime`.
"""
