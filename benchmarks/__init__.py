"""What the cache costs, beside its peers and bare floors: ``make bench``, ``make bench-quick``."""
