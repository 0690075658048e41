"""What is said of an app's files: tables on disk, models, and a Feast repository whose store is whole or broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import BaseModel

from streamserve import App
from streamserve.dataflow.planning.nodes import FeaturesNode, ModelNode
from streamserve.features.environment import environment_kept
from streamserve.inference.package import MODEL_FILE
from streamserve.ops.doctor import Finding
from streamserve.ops.doctor.files import feature_store, models, state_directory
from streamserve.settings import Settings
from tests.feature_store import history, new_store
from tests.unit.inference.onnx_models import unread_package


class Ride(BaseModel):
    driver: str
    city: int


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def levels(findings: Iterable[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def with_a_table(store: str) -> App:
    app = App("rides")
    app.table("sums", float, store="disk" if store == "disk" else "memory")
    return app


def test_tables_in_memory_need_no_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    settings = Settings(state_dir=tmp_path / "state")
    assert levels(state_directory(with_a_table("memory").plan(), settings)) == []
    assert levels(state_directory(with_a_table("disk").plan(), settings)) == ["fault"]


@pytest.mark.parametrize(("free", "level"), [(2 << 30, "fine"), (500 << 20, "warning"), (50 << 20, "fault")])
def test_tables_on_disk_need_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    def usage(_: object) -> _Usage:
        return _Usage(free, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    settings = Settings(state_dir=tmp_path / "not" / "there" / "yet")
    assert levels(state_directory(with_a_table("disk").plan(), settings)) == [level]
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_bytes_are_not_those_published_is_a_fault(tmp_path: Path) -> None:
    package = unread_package(tmp_path)
    node = ModelNode("risk", float)
    settings = Settings(model_registry=tmp_path)
    assert levels(models(node, settings)) == ["fine"]
    (package / MODEL_FILE).write_bytes(b"another")
    [finding] = models(node, settings)
    assert (finding.level, finding.name, finding.where) == ("fault", "model-package", "model risk")


@pytest.mark.parametrize("node", [ModelNode("risk", float, version="2"), ModelNode("risk", float, alias="canary")])
def test_a_version_or_alias_that_is_not_there_is_a_fault(tmp_path: Path, node: ModelNode) -> None:
    unread_package(tmp_path)
    assert levels(models(node, Settings(model_registry=tmp_path))) == ["fault"]


def test_a_model_needs_a_registry() -> None:
    assert levels(models(ModelNode("risk", float), Settings())) == ["fault"]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository whose service is joined by a text and a number."""
    store = new_store(tmp_path / "repo", "rides")
    with environment_kept():
        from feast import Entity, FeatureService, FeatureView, Field, ValueType
        from feast.types import Float32

    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.STRING)
    city = Entity(name="city", join_keys=["city"], value_type=ValueType.INT64)
    source = history(tmp_path / "repo", "rates")
    view = FeatureView(name="rates", entities=[driver, city], source=source, schema=[Field(name="rate", dtype=Float32)])
    store.apply([driver, city, view, FeatureService(name="rates_v1", features=[view])])
    return tmp_path / "repo"


def test_a_store_that_answers_is_fine_and_one_that_does_not_is_a_fault(repo: Path) -> None:
    node, settings = FeaturesNode("rates_v1", Ride), Settings(feature_repo=repo)
    assert levels(feature_store(node, settings)) == ["fine"]
    (repo / "data" / "online.db").write_text("this is no database, but a text that is long enough to be read as one")
    [finding] = feature_store(node, settings)
    assert (finding.level, finding.name) == ("fault", "feature-store")
    assert "online_store" in finding.remedy or "online store" in finding.what


def test_a_service_or_a_repository_that_is_not_there_is_a_fault(repo: Path, tmp_path: Path) -> None:
    assert levels(feature_store(FeaturesNode("rates_v2", Ride), Settings(feature_repo=repo))) == ["fault"]
    assert levels(feature_store(FeaturesNode("rates_v1", Ride), Settings(feature_repo=tmp_path / "no"))) == ["fault"]
    assert levels(feature_store(FeaturesNode("rates_v1", Ride), Settings())) == ["fault"]
