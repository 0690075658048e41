"""A repository that was never applied, read from its Python files."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamserve.errors import PlanError
from streamserve.features.feast import describe, describe_definitions, is_applied

CONFIG = """\
project: trips
provider: local
registry:
  path: data/registry.db
online_store:
  type: sqlite
  path: data/online.db
entity_key_serialization_version: 3
"""

DEFINITIONS = """\
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Float64

origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
pushed = PushSource(name="weather", batch_source=FileSource(name="hours", path="hours.parquet", timestamp_field="at"))
weather = FeatureView(name="weather", entities=[origin], schema=[Field(name="wind", dtype=Float64)], source=pushed)
service = FeatureService(name="delay_v1", features=[weather])
"""


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    (tmp_path / "feature_store.yaml").write_text(CONFIG)
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    return tmp_path


def test_a_service_is_described_and_the_repository_left_as_it_is(definitions: Path) -> None:
    before = sorted(definitions.iterdir())
    described = describe_definitions(definitions, "delay_v1")
    assert (described.join_keys, described.features) == (("origin",), {"wind": float})
    assert described.push_sources == {"weather": ("weather",)}
    assert [path for path in sorted(definitions.iterdir()) if path.name != "__pycache__"] == before
    assert not is_applied(definitions)


def test_an_applied_repository_is_read_from_its_registry(empty_repo: Path) -> None:
    assert is_applied(empty_repo)
    assert describe(empty_repo, "wind_v1").features == {"wind": float}


def test_an_unknown_service_is_told(definitions: Path) -> None:
    with pytest.raises(PlanError, match=r"no feature service 'delay_v9' .* \(known: delay_v1\)"):
        describe_definitions(definitions, "delay_v9")


def test_a_file_that_fails_is_named(definitions: Path) -> None:
    (definitions / "broken.py").write_text("1 / 0")
    with pytest.raises(PlanError, match=r"broken\.py raised ZeroDivisionError"):
        describe_definitions(definitions, "delay_v1")


def test_a_folder_without_a_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no feature_store\.yaml"):
        is_applied(tmp_path)
    with pytest.raises(PlanError, match=r"no feature_store\.yaml"):
        describe_definitions(tmp_path, "delay_v1")
