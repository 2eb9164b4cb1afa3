"""Records as files: their format, and how they are written, published and deleted; all in a thread.

`packing` encodes and decodes a record, and `files` has the operations on the files of one record. A process remembers
which `uses` of entries it has recorded, and which bodies it has `checked`. May import `places`, the contract of a store
and `entries`.
"""
