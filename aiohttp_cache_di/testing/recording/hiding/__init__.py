"""What is taken out of a recording before it is compared or written.

`filters` takes out credentials, by the rule of the package, and what a test names; `echoes` finds them in what the
upstream answers, and `secrets` in texts that are neither JSON nor a query. May import `comparing`, `bodies` and
`exchanges` beside it, and `keys`.
"""
