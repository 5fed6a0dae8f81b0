"""Pictures: read within limits, as a graph, cut into views, by rows."""
