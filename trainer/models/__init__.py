"""The models: layers, distances, losses, and a trained model as a folder."""
