"""The scenario file: its form, what can be wrong with it, and how it becomes a world."""
