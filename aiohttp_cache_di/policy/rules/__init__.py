"""What users say about caching, in every form that they may say it in, and the rules for one request that it makes.

`book` resolves the settings of a backend and the wishes of a call into `resolved.Rules`. `expiration` reads lifetimes
and `windows` how long past them a response may be used; `patterns` matches URLs, `principals` names whom requests are
for, and `tags` what is purged together. `idle` finds settings that have no effect together. May import `rfc9111` and
the leaves beside it; no other part of the policy.
"""
