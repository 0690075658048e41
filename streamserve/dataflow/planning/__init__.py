"""What an app declares, as plain data, and whether it fits together."""
