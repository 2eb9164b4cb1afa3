"""Write-behind: callers do not wait for writes, which can be read from here until they are in the store.

`pending` is what others use: its workers put what is in the `backlog`, where each `write` is in one of four states.
`puts` puts a batch, and does what follows for each write. `tombstones` are keys whose deletion failed. May import
`guarding`.
"""
