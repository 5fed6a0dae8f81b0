"""What `task` and `launch` are made of: batches, steps, the loop and its guards."""
