"""The side of a testbed that sets up machines, starts runs, watches them and collects what they recorded."""
