"""Looking at many records: `walk` iterates over all of them.

May import `bodies`, `records`, `places` and the contract of a store.
"""
