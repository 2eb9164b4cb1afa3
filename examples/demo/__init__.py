"""`make demo`: two real services, a real origin, and what the cache does between them."""
