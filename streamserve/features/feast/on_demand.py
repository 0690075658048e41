"""On-demand features: computed by Feast's own full call."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamserve.errors import FeatureRowError, OutageError
from streamserve.features.base import FeatureStatus
from streamserve.features.feast.repository import Resolved


@dataclass(frozen=True, slots=True)
class OnDemandFeatures:
    """Asks Feast for whole rows and keeps what on-demand views computed.

    A row of which an input must not be used (too old, or from the future) is not asked for and takes that status; one
    with a null join key or request field, which Feast refuses, is not found. Neither age nor cache applies here.
    """

    resolved: Resolved
    full_names: bool

    def compute(
        self, given: Mapping[str, Sequence[Any]], refused: Sequence[FeatureStatus | None]
    ) -> tuple[dict[str, Sequence[Any]], dict[str, Sequence[FeatureStatus]]]:
        """Return columns and statuses for the rows of ``given``: join keys and request fields.

        Raises:
            FeatureRowError: an on-demand view raised.
            OutageError: the online store does not answer.
        """
        whole = [all(value is not None for value in row) for row in zip(*given.values(), strict=True)]
        asked = [place for place, why in enumerate(refused) if why is None and whole[place]]
        answers = (
            self._ask({name: [column[place] for place in asked] for name, column in given.items()}) if asked else {}
        )
        blank: list[FeatureStatus] = [why or "not-found" for why in refused]
        columns: dict[str, Sequence[Any]] = {}
        statuses: dict[str, Sequence[FeatureStatus]] = {}
        for name in self.resolved.description.on_demand:
            columns[name], statuses[name] = _spread(answers.get(name, []), asked, blank)
        return columns, statuses

    def _ask(self, given: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        with _call_errors(self.resolved.description.service):
            response = self.resolved.store.get_online_features(
                self.resolved.service, entity_rows=dict(given), full_feature_names=self.full_names
            )
            return response.to_dict()


def _spread(
    answers: Sequence[Any], asked: Sequence[int], blank: Sequence[FeatureStatus]
) -> tuple[list[Any], list[FeatureStatus]]:
    """Put ``answers`` in the places that were ``asked`` for, among rows that have ``blank`` statuses."""
    values: list[Any] = [None] * len(blank)
    statuses = list(blank)
    for place, value in zip(asked, answers, strict=True):
        values[place] = value
        statuses[place] = "null" if value is None else "present"
    return values, statuses


@contextmanager
def _call_errors(service: str) -> Generator[None]:
    """Tell a store that is away from a view that raises: its inputs were read a moment ago."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError | sqlite3.Error) or "Connection" in type(error).__name__:
            raise OutageError(f"Feast's online store does not answer for feature service {service!r}") from error
        raise FeatureRowError(
            f"an on-demand view of feature service {service!r} raised {type(error).__name__} on these inputs"
        ) from error
