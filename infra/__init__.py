"""Infrastructure as data, and tooling: what runs here, what deploys, what checks."""
