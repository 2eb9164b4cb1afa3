"""What to do with a request: answer it from the store, validate what is stored, or send it on.

`question` is the door: it settles plain hits by a few comparisons and leaves the rest to `request`. `reuse` says
whether what is stored may be used as it is, and `redirects` when a stored redirect may be. May import `rules`, and
`decisions`, `lifetimes`, `parts` and `tracing` beside it.
"""
