"""The publish side of updates: keys, the signed repository as a value, and its folder of static files."""
