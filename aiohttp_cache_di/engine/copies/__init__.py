"""Copying a body while its reader reads it, without making the reader fail or, but for `spooled`, wait.

`recording` listens to aiohttp's stream, and a `recorder` collects the chunks. `framing` tells whether the end of a body
can be recognised, `budget` limits the memory of all copies together, and `spooled` writes a large body to a store that
takes it in pieces; then a reader waits if writing falls far behind. May import `runtime`; knows no keys and no policy.
"""
