"""Columns of equal length, some of which are only made when somebody reads them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import chain
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEPT = 1 << 22
"""Rows up to which a table that was made on demand is kept; a larger one is made anew, piece by piece."""

T_co = TypeVar("T_co", bound="Table", covariant=True)


class Source(Protocol[T_co]):
    """What the rows of one replication can be made from, piece by piece, in the same way each time.

    Attributes:
        replication: Number of the replication.
        most_rows: About how many rows there are at most.
    """

    @property
    def replication(self) -> int: ...  # noqa: D102 - described above

    @property
    def most_rows(self) -> int: ...  # noqa: D102 - likewise

    def parts(self) -> Iterator[T_co]:
        """Make the rows, some at a time; at least one table, be it empty."""
        ...


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length; subclasses name them, among them `replication`.

    A table may be deferred: then its columns are made from its sources when the first of them is read, and `parts` and
    `len` need not keep them.
    """

    @classmethod
    def deferred(cls, sources: Sequence[Source[Self]]) -> Self:
        """A table whose rows are made when they are read."""
        table = object.__new__(cls)
        table.__dict__["_sources"] = tuple(sources)
        return table

    if not TYPE_CHECKING:  # to a type checker, only columns that a subclass names are there

        def __getattr__(self, name: str) -> np.ndarray:
            """Make the columns of a deferred table as the first of them is read."""
            if name not in type(self).__dataclass_fields__ or "_sources" not in self.__dict__:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            made = type(self).concatenate(list(self._made()))
            self.__dict__.update(made.__dict__)
            del self.__dict__["_sources"]
            return self.__dict__[name]

    def __len__(self) -> int:
        return sum(len(getattr(part, fields(part)[0].name)) for part in self.parts())

    def parts(self) -> Iterator[Self]:
        """All rows, in order, as tables of their own; those of a large deferred table are not kept."""
        if sum(source.most_rows for source in self.sources) <= _KEPT:
            yield self
        else:
            yield from self._made()

    def only(self, replication: int) -> Self:
        """The rows of one replication."""
        sources = [source for source in self.sources if source.replication == replication]
        if sources:
            return self if len(sources) == len(self.sources) else self.deferred(sources)
        own = getattr(self, "replication") == replication  # noqa: B009 - a column of the subclass
        return self if own.all() else self.where(own)

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def where(self, mask: np.ndarray) -> Self:
        """The rows for which `mask` is true (or the rows at these positions)."""
        return type(self)(**{name: column[mask] for name, column in self.columns().items()})

    @classmethod
    def concatenate(cls, tables: Sequence[Self]) -> Self:
        """All rows of several tables, in order; deferred if all of them are."""
        if len(tables) == 1:
            return tables[0]
        if tables and all(table.sources for table in tables):
            return cls.deferred([source for table in tables for source in table.sources])
        return cls(**{x.name: np.concatenate([getattr(t, x.name) for t in tables]) for x in fields(cls)})

    @property
    def sources(self) -> tuple[Source[Self], ...]:
        """What the rows are made from; empty if they are there."""
        sources: tuple[Source[Self], ...] = self.__dict__.get("_sources", ())
        return sources

    def _made(self) -> Iterator[Self]:
        return chain.from_iterable(source.parts() for source in self.sources)
