"""What `publish` and `approve` are made of: loads, checks, swaps, two warehouses."""
