"""The file: where it is, what is in it, and how it is opened, by programs that trust nothing there.

`files` knows the places and the owners, `schema` the tables and the statements on them, `inspection` whether the file
has what we have put there. `opening` sets a connection up, which lives on a `thread` of its own, and `failing` tells
what an error says of the file. May import `disk` and, in ``thread`` alone, aiosqlite; no other room of this one.
"""
