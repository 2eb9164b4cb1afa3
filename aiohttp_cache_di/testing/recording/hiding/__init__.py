"""Removing secrets from exchanges before they are compared or written.

- `filters` redacts credentials, which it recognises by the rules of `keys`, and the values of names that a test lists.
- `echoes` finds secrets of the request in the response.
- `secrets` finds secrets in XML, GraphQL, multipart forms and other text.

May import `comparing`, `bodies` and `exchanges` beside it, and `keys`.
"""
