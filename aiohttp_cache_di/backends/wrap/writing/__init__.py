"""Writes on their way: off their callers' path, read from here meanwhile, and tried until they are written.

`pending` has them, each a `write`; `gathering` waits a moment for others where the store's limits ask for it, `puts`
tells how much goes into one put, and `tombstones` are keys whose deletion failed. May import `guarding` and `tasks`.
"""
