"""Infrastructure as data: table definitions, settings, images and local tooling."""
