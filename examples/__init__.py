"""Runnable examples; nothing else in the project imports them."""
