"""The year, read once for all tests."""

from __future__ import annotations

import gc
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from topologies.flights.feature_repo import prepare_feature_repo
from topologies.flights.rows import Rows, model_rows
from topologies.flights.year import Flights, load_flights

from .days import PREPARED_UNTIL


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Keep the garbage collector out of it: a million messages, none of them garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session")
def year() -> Flights:
    return load_flights()


@pytest.fixture(scope="session")
def january(year: Flights) -> Flights:
    """The first flights of the year, for what begins with it and does not need the rest."""
    return year.take(np.arange(10_000))


@pytest.fixture(scope="session")
def rows(year: Flights) -> Rows:
    return model_rows(year)


@pytest.fixture(scope="session")
def repo(year: Flights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature repository with the history of the first days."""
    target = tmp_path_factory.mktemp("flights") / "feature_repo"
    return prepare_feature_repo(target, year=year, until=PREPARED_UNTIL)
