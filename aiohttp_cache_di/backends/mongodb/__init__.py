"""Storage in MongoDB, shared by any number of machines."""
