"""A comparison as people see it: the table in the terminal, the figures, and the HTML page."""

from twin.report.page import render, write_report

__all__ = ["render", "write_report"]
