"""What `make run` does on one machine."""
