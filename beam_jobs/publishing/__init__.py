"""What `publish` is made of: loads, checks and the local warehouse."""
