"""What `task` and `launch` are made of: tables, steps, the loop and its guards."""
