"""Entries: stored responses, how they become bytes, and reading them.

Stored bytes are untrusted: everything is verified before it is used, and reading them runs no code. This package may
import `rfc9111`, leaf modules, msgspec, and aiohttp for the names and types of messages; it knows no store, no policy
and no cache keys. Its parts:

- ``build`` makes an entry (`rfc9111.messages.StoredResponse`) from a response that has arrived, without the fields that
  are never stored.
- ``items`` are what a store has under a key: an entry, an alias, or what a user's serializer has made.
- ``codec`` turns an item into bytes and back: a version, a checksum and maybe a signature, then the fields. When
  bytes are read, ``checks`` validates each field. ``checksum`` chooses who computes checksums.
- ``secrets`` derives the signing keys from the user's secret.
- ``fields`` gives an entry's header fields, cookies and expiry as aiohttp would have parsed them; ``streams`` are body
  streams without a connection.
- ``info`` describes an entry without its body; ``outline`` reads that from the beginning of its bytes.
- ``tags`` are the names by which entries are purged together.
- ``filed`` is an entry whose body is in a file.
- ``older`` reads a response that aiohttp-client-cache has stored, which is a pickle; ``pickled`` reads pickles as data
  and never executes them.
"""
