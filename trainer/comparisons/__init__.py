"""What `compare` is made of: variants, one measurement for all, table and chart."""
