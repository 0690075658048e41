"""A feature service as plain data: what it needs, what it gives, and how far its join may be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from streamserve.errors import PlanError


@dataclass(frozen=True, slots=True)
class ViewDescription:
    """One feature view as a service uses it.

    ``name`` is the service's name for the view, ``table`` the view's own: two names on one table differ in their keys.
    ``keys`` maps the table's join keys to those that a read gives, ``features`` the table's features to those that a
    read answers; a view that only feeds on-demand views answers none. ``ttl`` is what the repository states.
    """

    name: str
    table: str
    keys: Mapping[str, str]
    features: Mapping[str, str]
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ServiceDescription:
    """What ``streamserve check`` and a reader need to know of a feature service.

    ``features`` are the names and Python types of what a read answers, ``on_demand`` those of them that Feast computes
    at each read, ``request_fields`` what on-demand views ask of the event besides ``join_keys``. ``push_sources`` are
    all of the repository's, each with the views that it feeds.
    """

    service: str
    join_keys: tuple[str, ...]
    request_fields: tuple[str, ...]
    features: Mapping[str, type]
    views: tuple[ViewDescription, ...]
    on_demand: tuple[str, ...]
    push_sources: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """How a service is joined.

    ``max_age`` bounds the age of a row against the **event's** time, by the service's name of the view; a view that is
    not named takes its ``ttl`` (which Feast's own online read ignores), and ``None`` means no bound.

    ``cache_max_age`` bounds how long a row may be answered without asking the online store again, against
    **processing** time: what another process wrote is seen that much later. ``cache_max_ages`` sets it for single
    views, by the table's name. Zero asks at every read. ``cache_rows`` bounds the rows kept for each table.

    ``full_feature_names`` names features ``view__feature``, as Feast's argument of that name does: needed where two
    views of a service share a feature name.

    >>> JoinOptions().cached_for("weather")
    datetime.timedelta(seconds=1)
    >>> JoinOptions(cache_max_ages={"aircraft": timedelta(hours=1)}).cached_for("aircraft")
    datetime.timedelta(seconds=3600)
    """

    max_age: Mapping[str, timedelta | None] = field(default_factory=dict[str, timedelta | None])
    cache_max_age: timedelta = timedelta(seconds=1)
    cache_max_ages: Mapping[str, timedelta] = field(default_factory=dict[str, timedelta])
    cache_rows: int = 100_000
    full_feature_names: bool = False

    def __post_init__(self) -> None:
        spans = [self.cache_max_age, *self.cache_max_ages.values(), *(age for age in self.max_age.values() if age)]
        if min(spans) < timedelta(0) or self.cache_rows < 1:
            raise PlanError("maximum ages must not be negative and cache_rows must be at least 1")

    def cached_for(self, table: str) -> timedelta:
        """Return how long rows of ``table`` may be answered from the cache."""
        return self.cache_max_ages.get(table, self.cache_max_age)

    def oldest(self, view: ViewDescription) -> timedelta | None:
        """Return the maximum age of ``view``'s rows against event time."""
        return self.max_age.get(view.name, view.ttl)
