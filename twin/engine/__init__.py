"""Simulated backends: `events` plays every feature, `arrays` most of them, faster."""
