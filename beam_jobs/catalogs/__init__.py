"""Catalogues: Shop-The-Look files or a retailer's tables, row by row accounted for."""
