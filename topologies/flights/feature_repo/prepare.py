"""A fresh copy of the feature repository: files written, definitions applied, online store filled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamserve.errors import ConfigurationError
from streamserve.features.environment import environment_kept
from topologies.flights.history import load_aircraft, route_history
from topologies.flights.source import Instants
from topologies.flights.year import Flights, load_flights, load_weather

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

__all__ = ["Progress", "prepare_feature_repo"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told the feature view being written, its rows written so far and its rows in all."""

Table: TypeAlias = Mapping[str, NDArray[Any]]
"""Columns of equal length; ``at`` is when a row is known, UTC."""

_DEFINITIONS = ("definitions.py", "feature_store.yaml")
_BLOCK = 10_000
_REGISTERED = int(datetime(2012, 12, 31, tzinfo=UTC).timestamp()) // 60
"""When the register of aircraft counts as known: before the first flight."""


def prepare_feature_repo(
    target: str | Path,
    *,
    year: Flights | None = None,
    until: datetime | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make a Feast repository in the new or empty folder ``target`` and return it.

    Routes and aircraft are in its online store. Weather is not, for the stream pushes it; its file is there for Feast's
    offline joins. With ``until`` (aware), days that start later are left out of the online store, so that short runs
    start sooner: the whole year, 220,000 values, takes about 10 s. ``year`` saves reading the flights again.

    Raises:
        ConfigurationError: ``target`` holds files already, or the data set is not installed.
    """
    repo = _copied(Path(target))
    tables = _tables(load_flights() if year is None else year)
    for name, table in tables.items():
        _frame(table).to_parquet(repo / "data" / f"{name}.parquet")
    store = _applied(repo)
    tell = progress or _quiet
    _fill(store, "aircraft_register", tables["aircraft"], tell)
    _fill(store, "route_history", _known(tables["routes"], until), tell)
    return repo


def _copied(repo: Path) -> Path:
    if repo.exists() and any(repo.iterdir()):
        raise ConfigurationError(f"{repo} is not empty: name a new folder for the feature repository")
    (repo / "data").mkdir(parents=True)
    for name in _DEFINITIONS:
        shutil.copyfile(Path(__file__).with_name(name), repo / name)
    return repo


def _applied(repo: Path) -> FeatureStore:
    with environment_kept():
        from feast import FeatureStore

        from topologies.flights.feature_repo import definitions as flights

    store = FeatureStore(repo_path=str(repo))
    entities = [flights.origin, flights.route, flights.day, flights.aircraft]
    views = [flights.origin_weather, flights.aircraft_register, flights.route_history]
    store.apply([*entities, flights.weather_source, *views, flights.delay_v1])
    return store


def _known(table: Table, until: datetime | None) -> Table:
    """Return the rows that are known at ``until``."""
    if until is None:
        return table
    rows = table["at"] <= np.datetime64(round(until.timestamp()), "s")
    return {name: column[rows] for name, column in table.items()}


def _fill(store: FeatureStore, view: str, table: Table, tell: Progress) -> None:
    size = len(table["at"])
    tell(view, 0, size)
    for start in range(0, size, _BLOCK):
        block = {name: column[start : start + _BLOCK] for name, column in table.items()}
        store.write_to_online_store(view, df=_frame(block))
        tell(view, min(start + _BLOCK, size), size)


def _frame(table: Table) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(table)


def _tables(flights: Flights) -> dict[str, Table]:
    """Return each file's content under its name."""
    weather = load_weather()
    aircraft = load_aircraft()
    routes = route_history(flights)
    return {
        "weather": {"origin": weather.origin, "at": _instants(weather.at), **weather.readings},
        "aircraft": {
            "tailnum": aircraft.tailnum,
            "at": np.full(len(aircraft.tailnum), _instants(np.array([_REGISTERED]))[0]),
            "aircraft_year": aircraft.year,
            "seats": aircraft.seats,
            "engines": aircraft.engines,
        },
        "routes": {
            "route": routes.route,
            "day": routes.day,
            "at": _instants(routes.at),
            "route_flights": routes.flights,
            "route_delay": routes.delay,
            "route_late_share": routes.late_share,
        },
    }


def _instants(minutes: Instants) -> NDArray[np.datetime64]:
    return minutes.astype("datetime64[m]").astype("datetime64[ns]")


def _quiet(view: str, done: int, total: int) -> None:
    """Tell nobody."""
