"""Records as files: their format, and how they are read, published and deleted; all in a thread.

`packing` encodes and decodes a record, `files` has the operations on the files of one record, and `uses` is what this
process remembers of files. May import `places`, the contract of a store and `entries`.
"""
