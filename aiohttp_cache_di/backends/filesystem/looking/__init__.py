"""Looking records up: `reader` puts an item together from its files, and `walk` iterates over all records.

May import `bodies`, `records`, `places` and the contract of a store.
"""
