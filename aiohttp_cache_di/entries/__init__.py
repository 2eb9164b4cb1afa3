"""Stored responses as bytes, and what can be told from them.

What this room promises: bytes that anyone can write to are believed in nothing before it is checked, and no code is run
to read them. It may import `rfc9111` and the leaves beside that, msgspec, and aiohttp for the names and types of
messages; it knows no store, no policy and no key. How its parts move together:

- ``build`` makes an entry (`rfc9111.messages.StoredResponse`) of a response that has arrived, without the fields that
  are never stored.
- ``codec`` turns it into bytes and back: a version, a checksum or signature, then the fields. What comes out of it has
  been through ``checks``, which look at each field.
- ``secrets`` makes the keys that sign, from what the user gave as a secret.
- ``fields`` reads an entry as aiohttp would have read the response: header fields, cookies, when it expires. It has
  ``streams`` in place of a connection.
- ``info`` is what can be told of an entry without its body, which ``outline`` reads off the beginning of its bytes.
- ``tags`` are the names by which entries are purged together, and when they were given.
- ``filed`` is an entry whose body is in a file.
- ``older`` reads a response as aiohttp-client-cache keeps it: a pickle, which ``pickled`` reads as data and never runs.
"""
