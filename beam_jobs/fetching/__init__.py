"""What `fetch_images` is made of: the polite client, lanes, units and the gate."""
