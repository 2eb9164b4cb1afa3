"""What operators ask of a backend: what is in there, why, and to have some of it gone.

Four classes hold the methods that users call, each on top of the next; what the methods do is in the other modules, so
that a user's subclass of `CacheBackend` shares few names with us::

    explaining   `explain`: makes an `explanation` of what `searching` finds and decides by a `store_view`
    operated     `entries`, `purge`, `usage`: what a `selection` says, in a user's `terms`; `purging` drops it
    urls         `has_url`, `delete_url`, `get_urls`: what is kept for one URL
    deleting     `bulk_delete`, `invalidate`: what goes with a response that is deleted

May import the settings of a backend (`configured`), `stacked`, `storage`, `wrap` and `store`; no store of its own.
"""
