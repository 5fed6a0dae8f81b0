"""Negatives: pools, draws, and a champion's embeddings."""
