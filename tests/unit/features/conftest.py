"""A Feast repository of its own for each test that writes, copied from one that is built once."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest

from streamserve.features.environment import environment_kept

with environment_kept():  # the tests beside it import Feast themselves, and come later
    from tests.unit.features import feast_repo


@pytest.fixture(scope="session")
def empty_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample repository, applied, without a row."""
    path = tmp_path_factory.mktemp("feast") / "feature_repo"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="On demand feature view is an experimental", category=RuntimeWarning)
        feast_repo.build(path)
    return path


@pytest.fixture
def repo(empty_repo: Path, tmp_path: Path) -> Path:
    """A copy of the sample repository to write to."""
    return Path(shutil.copytree(empty_repo, tmp_path / "feature_repo"))
