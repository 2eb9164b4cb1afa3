"""Storing the response to one request, from the arrival of its head to its entry among the variants of its URL.

`arriving` makes one object per response that is stored: it copies the body, and when the last byte has arrived, makes
the entry (`making`) and writes it (`placing`). The other modules are functions of the request's `lookup`: `tagging`
finds the tags by which the response is purged, `locations` are what redirects say (whether they may be stored, and
where they lead), and `invalidating` deletes what an unsafe request makes invalid. `posted` stores a response to POST
that answers GET, too. May import `copies`, `questions`, `origin`, `flights`, `hop`, `lookup` and `runtime`.
"""
