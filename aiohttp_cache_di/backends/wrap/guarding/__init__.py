"""The guard between requests and storages: whatever a storage does, a request gets its answer, and soon.

`guard` runs each operation under a `deadline`, leaves a dead store alone by a `circuit`, and tells of what fails by
`outages`. May import errors and telemetry; it knows no store, and nothing of what it runs.
"""
