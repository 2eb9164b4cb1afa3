"""The file: where it is, what is in it, and how it is opened, by programs that trust nothing there.

`failing` tells what an error says of the file, `files` knows the places and the owners, `schema` the tables, and
`inspection` whether the file has what we have put there. `opening` sets a connection up, which lives on a `thread` of
its own. May import `disk` and, in ``thread`` alone, aiosqlite; no other room of this one.
"""
