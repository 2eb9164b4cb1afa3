"""What those who look after a cache ask of a backend: what is in there, why, and to have some of it gone.

`operated` lists, counts and purges what `selection` says, in the words that `terms` checks; `explaining` tells what the
cache would do with a request now, from what `sight` finds without a trace. May import the backend's settings
(`configured`), `urls`, `wrap` and `store`; no store of its own.
"""
