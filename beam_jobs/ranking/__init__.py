"""What `rank_catalog` is made of."""
