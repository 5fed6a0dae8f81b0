"""How a model is configured: fields and ranges, presets, and the name it gets."""
