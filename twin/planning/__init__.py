"""Advice on where to split now: the best partition, the alternatives, and where the answer changes."""
