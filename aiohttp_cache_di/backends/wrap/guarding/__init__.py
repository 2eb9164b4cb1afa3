"""The guard between requests and stores: whatever a store does, a request is answered in time.

`guard` runs each operation under a `deadline`, stops calling a failing store by a `circuit` breaker, and reports
failures by `outages`. May import errors and telemetry; it knows no store, and nothing of the operations that it runs.
"""
