"""The model: backbones, layers, training, evaluation and the gate. Never Beam."""
