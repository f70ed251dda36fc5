"""A rate that is constant between knots, read and integrated exactly."""

from twin.steps.function import AfterEnd, Steps

__all__ = ["AfterEnd", "Steps"]
