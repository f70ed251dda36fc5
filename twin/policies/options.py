"""Ranges of policy options; a scenario that leaves them is refused with the place in its file."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]
