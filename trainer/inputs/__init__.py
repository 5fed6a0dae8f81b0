"""What models read: cached features, kept maps, and pairs as rows of them."""
