"""The models: layers, distances, losses; what a folder of one holds and can do."""
