"""Write-behind: callers do not wait for writes, which can be read from here until they are in the store.

`pending` holds them and retries failed ones, each a `write`; `puts` decides how many go into one put, and delays it
briefly to make it larger, if the store's limits say so; `tombstones` are keys whose deletion failed. May import
`guarding`.
"""
