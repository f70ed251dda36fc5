"""Simulated backends: `events` plays every feature."""
