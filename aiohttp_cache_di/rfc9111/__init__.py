"""HTTP caching as RFC 9111 defines it, as pure functions over immutable messages."""
