"""Finding the recording of a request, and how the nearest recording differs from it.

`matching` compares requests, and `meanings` their bodies: by what they mean, not byte by byte. May import `bodies` and
`exchanges` beside it.
"""
