"""Records as files: what their bytes are, and how they are read, published and dropped; all in a thread.

`packing` makes bytes of a record and reads them, `files` are those of one record, `uses` is what this process remembers
of them, and `walk` goes over those of all. May import `places`, the contract of a store and `entries`.
"""
