"""What models are trained on: features, maps and pairs, by rows."""
