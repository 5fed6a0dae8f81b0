"""What a model is trained as: fields and their ranges, presets, and its name."""
