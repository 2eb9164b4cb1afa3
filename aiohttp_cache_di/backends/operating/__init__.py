"""What operators ask of a backend: what is in there, why, and to have some of it gone.

`operated` lists, counts and purges what `selection` says, in the words that `terms` checks. `urls` finds and drops what
is kept for one URL, and `deleting` knows what goes with a response that is deleted. `explaining` makes an `explanation`
of what the cache would do with a request now, from what `store_view` finds without a trace. May import the settings of
a backend (`configured`), `stacked`, `storage`, `wrap` and `store`; no store of its own.
"""
