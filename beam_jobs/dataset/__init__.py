"""What `build_dataset` is made of: crops, splits, triplets and shards."""
