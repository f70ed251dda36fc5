"""A comparison as people see it: the table in the terminal, the figures, and the HTML page."""

from twin.report.figures import pictures
from twin.report.page import render, write_report

__all__ = ["pictures", "render", "write_report"]
