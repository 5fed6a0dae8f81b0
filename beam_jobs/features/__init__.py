"""What `extract_features` and `compact_features` are made of."""
