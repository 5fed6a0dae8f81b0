"""Networks that turn pictures into features: where they come from, which is which."""
