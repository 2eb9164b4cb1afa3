"""A copy of a body, taken while its reader reads: nothing here makes the reader wait, or fail.

`recording` listens to aiohttp's stream, and a `recorder` collects: `framing` tells whether the body has an end,
`budget` how much memory all copies have together, and `spooled` writes a large one into a store that takes it in
pieces. May import `runtime`; knows nothing of keys and policy.
"""
