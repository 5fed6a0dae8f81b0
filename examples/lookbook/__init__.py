"""A generated look-book in the Shop-The-Look layout, and a local image host.

People in outfits that share a style, the catalogue pictures of what they wear, and
the boxes that say where. It stands in for a real catalogue where none can be
downloaded; it makes no claim about how people dress.
"""
