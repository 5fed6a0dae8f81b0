"""Networks that turn pictures into features: where they come from, and which."""
