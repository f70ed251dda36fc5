"""Calibration of the twin by measured runs, and replays of measured runs in the twin."""
