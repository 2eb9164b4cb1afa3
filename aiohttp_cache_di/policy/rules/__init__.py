"""The user's rules: everything that can be configured about caching, and the rules for one request.

`book` resolves the settings of a backend and the options of a request into the `Rules` for it. `expiration` reads
lifetimes, and `windows` the time after them in which a stale response may be used. `patterns` matches URLs,
`principals` names the users of requests, and `tags` reads tags. `idle` finds settings that have no effect. May import
`rfc9111` and the leaves beside it, and no other part of the policy.
"""
