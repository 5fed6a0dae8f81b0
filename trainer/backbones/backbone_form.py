"""What all backbones have in common; known without loading one, and so at once."""

from __future__ import annotations

IMAGE_PX = 224
"""Width and height of their input."""

GRID = 7
"""Rows and columns of regions, where no other grid is asked for."""

MODEL_FILE = "backbone.keras"
"""In the folder of a backbone that is kept."""
