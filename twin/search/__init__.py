"""Exact search over partitions: the best plan, the best few, and the Pareto front."""

from twin.search.solve import best, candidates, evaluate, pareto, references, score_of, scorer

__all__ = ["best", "candidates", "evaluate", "pareto", "references", "score_of", "scorer"]
