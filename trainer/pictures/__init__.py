"""Pictures: checked against limits, as a graph, cut into views, as tables."""
