"""For operators: list what is stored, explain a decision, and delete or purge entries.

Three classes have the methods that users call, each a base of the one above it; the work is done in functions of the
other modules, so that few of our names can collide with those of a user's subclass of `CacheBackend`::

    explaining   `explain`: an `explanation`, made by `searching`, which looks the request up in a `store_view`
    operated     `entries`, `purge`, `usage`: a `selection` of entries, by a user's `terms`; `purging` deletes them;
                 `has_url`, `delete_url`, `get_urls`: the same for the entries of one URL
    deleting     `delete`, `bulk_delete`, `invalidate`: delete responses together with related entries

May import the settings of a backend (`configured`), `stacked`, `storage`, `wrap` and `store`; no store of its own.
"""
