"""Beam jobs: data in, data out. Pure functions hold the rules, transforms are thin."""
