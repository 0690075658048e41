"""Keeps tests of metrics from what other tests import."""

from __future__ import annotations

import prometheus_client
import pytest

assert prometheus_client  # before Feast, whose import would point it to files of its own


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Importing Feast says in the environment that metrics are shared between processes."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.delenv("PROMETHEUS_MULTIPROCESS_DIR", raising=False)
