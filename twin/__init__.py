"""A digital twin for splitting a neural network over edge, fog and cloud machines."""
