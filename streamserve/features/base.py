"""The port of a feature service: entity keys in, feature values out, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias

from streamserve.records import Scalar

FeatureStatus: TypeAlias = Literal["present", "null", "not-found", "outside-max-age", "from-the-future"]
"""Why a feature has the value it has. Only ``present`` has one other than ``None``."""


class FeatureRow(Mapping[str, Scalar]):
    """The features of one event, by name; a missing one is ``None`` and ``status`` says why.

    ``age`` is the event's time less the time of the oldest present value, zero where nothing is present.
    """

    __slots__ = ("_values", "age", "status")

    def __init__(self, values: Mapping[str, Scalar], *, status: Mapping[str, FeatureStatus], age: timedelta) -> None:
        self._values = values
        self.status = status
        self.age = age

    def __getitem__(self, name: str) -> Scalar:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"FeatureRow({dict(self._values)!r})"


@dataclass(slots=True)
class FeatureBatch:
    """The features of ``size`` events as columns.

    ``columns`` has a list (or a NumPy array) of ``size`` values per feature, ``None`` where missing. ``status`` has
    the same shape; a feature that is present in every row may be left out of it. ``ages_ms`` is the age of each row
    in milliseconds, as in ``FeatureRow.age``.
    """

    size: int
    columns: Mapping[str, Sequence[Any]]
    status: Mapping[str, Sequence[FeatureStatus]]
    ages_ms: Sequence[int]

    def row(self, index: int) -> FeatureRow:
        """Return row ``index`` as a mapping that reads the columns when it is asked."""
        return BatchRow(self, index)


class BatchRow(FeatureRow):
    """One row of a batch, built from its columns only as far as it is looked at."""

    __slots__ = ("batch", "index")

    def __init__(self, batch: FeatureBatch, index: int) -> None:
        self.batch = batch
        self.index = index

    def __getitem__(self, name: str) -> Scalar:
        return _plain(self.batch.columns[name][self.index])

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch.columns)

    def __len__(self) -> int:
        return len(self.batch.columns)

    def __repr__(self) -> str:
        return f"FeatureRow({dict(self)!r})"

    @property
    def status(self) -> Mapping[str, FeatureStatus]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return why each feature has the value it has."""
        known = self.batch.status
        return {name: known[name][self.index] if name in known else "present" for name in self.batch.columns}

    @property
    def age(self) -> timedelta:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Return the age of the oldest present value."""
        return timedelta(milliseconds=int(self.batch.ages_ms[self.index]))


def _plain(value: Any) -> Scalar:
    """Return Python's scalar for NumPy's."""
    return value.item() if hasattr(value, "item") else value


class FeatureReader(Protocol):
    """One feature service, prepared: its views resolved once, read in batches.

    ``join_keys`` are the entity columns that a read needs (before any ``entity_row`` renaming, which is the caller's),
    ``features`` the names and Python types of what comes back, in a fixed order.
    """

    service: str
    join_keys: tuple[str, ...]
    request_fields: tuple[str, ...]
    features: Mapping[str, type]

    def read(self, keys: Mapping[str, Sequence[Scalar]], event_times_ms: Sequence[int] | None) -> FeatureBatch:
        """Look up the features of ``len(event_times_ms)`` events.

        ``keys`` holds one sequence per join key (and per ``request_fields`` of on-demand views).
        ``event_times_ms`` are the events' times; ages and maximum ages count against them. ``None`` means now.

        Raises:
            OutageError: the online store does not answer.
            FeatureRowError: a row cannot be asked for at all; the caller splits the batch to find it.
        """
        ...

    def push(self, push_source: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Let later reads see ``rows`` at once; they reach the online store with ``flush_pushes``.

        A row older than what is already known for its entity is left out.
        """
        ...

    def flush_pushes(self) -> None:
        """Write what was pushed to the online store: called before each commit, at least once per row.

        Raises:
            OutageError: the online store does not answer.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
