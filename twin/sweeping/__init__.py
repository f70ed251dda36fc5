"""Sweeps: one scenario at many points, played by many workers."""
