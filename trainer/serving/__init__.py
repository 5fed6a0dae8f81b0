"""What `export_serving` and `predict` are made of: the way from a JPEG to products."""
