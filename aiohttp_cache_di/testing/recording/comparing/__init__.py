"""Whether a recorded request is the one that is asked, and what differs from the nearest.

`matching` tells that, of bodies by what they mean (`meanings`), whatever their headers say. May import `bodies` and
`exchanges` beside it.
"""
