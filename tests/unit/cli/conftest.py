from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from .apps import SHOP, module


@pytest.fixture
def shop(tmp_path: Path) -> Generator[str]:
    """The name of a sound app, as a command takes it."""
    with module(tmp_path, "shop_of_tests", SHOP) as name:
        yield f"{name}:app"
