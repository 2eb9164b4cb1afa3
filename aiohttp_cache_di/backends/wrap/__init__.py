"""What every store gets, wrapped around it."""
