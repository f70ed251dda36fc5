"""Records -> the figures of a comparison, with their intervals."""

from twin.metrics.measure import replication_of, summarise
from twin.metrics.notes import profile_source
from twin.metrics.summary import Summary

__all__ = ["Summary", "profile_source", "replication_of", "summarise"]
