"""Stores to run the same tests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from streamserve.state.disk import DiskStore
from streamserve.state.store import MemoryStore, Store


@pytest.fixture(params=["memory", "disk"])
def new_store(request: pytest.FixtureRequest) -> Iterator[Callable[[], Store]]:
    """Make empty stores of one kind, each of its own."""
    with ExitStack() as stack:

        def make() -> Store:
            if request.param == "memory":
                return MemoryStore()
            store = DiskStore(Path(stack.enter_context(TemporaryDirectory())) / "table-0")
            stack.callback(store.close, None)
            return store

        yield make
