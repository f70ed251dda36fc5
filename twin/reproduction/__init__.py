"""The seed paper's figures held against the twin: published numbers, link fit, predictions, tables."""
