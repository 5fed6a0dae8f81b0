"""What `evaluate` is made of: pairs, scorers, metrics, intervals, the gallery."""
