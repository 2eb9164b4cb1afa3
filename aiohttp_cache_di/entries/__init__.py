"""A stored response's bytes, and what is known of them."""
