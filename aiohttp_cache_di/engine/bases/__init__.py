"""The other base classes of a session, such as a user's rate limiter: what they add, and making requests without them.

`additions` tells whether anything of a session may change what is sent. `overrides` tells whether the ``_request`` of a
base class only passes requests on, so that hits can skip it; it analyses its `bytecode` (`arguments`: which of them a
call passes on; `results`: what happens to what the call returns). A request that hits may skip is made without these
classes, either as a trial before it is made through them (`trials`), or to be sent `through` them at its end. May
import `_aiohttp` and what is below the engine; no other part of the engine.
"""
