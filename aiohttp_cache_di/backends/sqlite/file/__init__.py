"""The file: where it is, what is in it, and how it is opened. Nothing in the file is trusted before it is checked.

`failing` classifies SQLite's errors, `files` locates, secures and sets aside the file, `schema` has its tables, and
`inspection` checks that the file has exactly those. `opening` sets a connection up; each runs on a `thread` of its own,
where jobs run on a `checked` file. May import `disk` and, in ``thread`` alone, aiosqlite; no other part of `sqlite`.
"""
