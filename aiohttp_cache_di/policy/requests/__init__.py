"""What to do with a request: answer it from the store, validate what is stored, or send it on.

`question` is the entry point: it recognises plain hits by a few comparisons and leaves the rest to `request`. `reuse`
decides whether a stored response may be used without validation, and `redirects` when a stored redirect may be. May
import `rules`, and `decisions`, `lifetimes`, `parts` and `tracing` beside it.
"""
