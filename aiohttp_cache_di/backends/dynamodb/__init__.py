"""Storage in DynamoDB, shared by any number of machines."""
