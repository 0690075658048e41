"""What holds for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from streamserve.features.environment import environment_kept
from tests.canaries import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]

settings.register_profile("streamserve", deadline=None, print_blob=True, derandomize="CI" in os.environ)
"""No deadline, for the machine may be busy; in CI the same examples each time, so that a failure is the change's."""
settings.load_profile("streamserve")

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Tests have their processes: where two of them train, OpenMP's threads spin for each other (0.8 s become 11 s)."""

os.environ.pop("COLUMNS", None)
"""Readline, which pytest imports, puts a width there for children, who would take it for a person's wish."""

TOGETHER = ("tests/unit/flights/", "tests/integration/test_dashboards.py", "tests/integration/test_doctor.py")
"""Tests below each of these share costly fixtures: one process runs them all."""

collect_ignore = ["benchmarks/peers/faust_copy.py", "benchmarks/peers/quix_copy.py", "benchmarks/compare/programs"]
"""Programs of other engines, which run in environments of their own."""

gc.disable()  # until all is imported: there is nothing to collect yet


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the environment from what is collected: modules that hold doctests import Feast themselves."""
    with environment_kept():
        return (yield)


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what was imported: it would walk through all of it again and again."""
    gc.freeze()
    gc.enable()


class _Together(LoadScopeScheduling):
    """Gives each test to a process that is free, but those of one of ``TOGETHER`` to one.

    By their paths: the marks of ``--dist loadgroup`` do not reach pytest-xdist 3.8 from pytest 9.2 on, and nothing says
    so (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((path for path in TOGETHER if nodeid.startswith(path)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Together:
    """Return what tells processes, where several run tests, which to run."""
    return _Together(config, log)
