from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from streamserve.errors import PackageError
from streamserve.inference.registry import ModelRegistry, Registry

from .onnx_models import float_package


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    for version in ("1", "2", "10"):
        float_package(tmp_path, version=version)
    (tmp_path / "model" / ".draft-x" / "3").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    return Registry(tmp_path)


def test_versions_come_in_order_of_their_numbers_without_drafts(registry: Registry) -> None:
    assert registry.versions("model") == ("1", "2", "10")
    assert registry.names() == ("model",)


def test_an_alias_means_the_version_it_was_set_to_last(registry: Registry) -> None:
    port: ModelRegistry = registry
    registry.set_alias("model", "champion", "1")
    registry.set_alias("model", "challenger", "10")
    registry.set_alias("model", "champion", "2")
    assert port.resolve("model") == "2"
    assert port.resolve("model", alias="challenger") == "10"
    assert registry.aliases("model") == {"champion": "2", "challenger": "10"}
    assert sorted(path.name for path in (registry.path / "model").iterdir()) == [
        ".draft-x", "1", "10", "2", "aliases.json"
    ]  # fmt: skip


def test_a_version_is_resolved_without_an_alias(registry: Registry) -> None:
    assert registry.resolve("model", version="10") == "10"
    assert registry.load("model", "10").manifest.version == "10"


def test_errors_list_what_there_is(registry: Registry) -> None:
    with pytest.raises(PackageError, match=r"no model 'fraud'; there is 'model'"):
        registry.resolve("fraud")
    with pytest.raises(PackageError, match=r"no version '3'; there is '1', '2', '10'"):
        registry.resolve("model", version="3")
    with pytest.raises(PackageError, match=r"no alias 'champion'; there is none; set it to one of .*'1', '2', '10'"):
        registry.resolve("model")
    with pytest.raises(PackageError, match=r"no version '3'"):
        registry.set_alias("model", "champion", "3")
    assert registry.aliases("model") == {}


def test_an_alias_of_a_version_that_is_gone_is_an_error(registry: Registry) -> None:
    registry.set_alias("model", "champion", "2")
    shutil.rmtree(registry.path / "model" / "2")
    with pytest.raises(PackageError, match=r"no version '2'; there is '1', '10'"):
        registry.resolve("model")


@pytest.mark.parametrize("text", ["", "[]", '{"champion": 1}'])
def test_aliases_that_cannot_be_read_are_named(registry: Registry, text: str) -> None:
    (registry.path / "model" / "aliases.json").write_text(text)
    with pytest.raises(PackageError, match=r"aliases\.json: not an object of alias to version"):
        registry.resolve("model")


def test_a_registry_that_is_not_there_has_no_models(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"no model 'model'; there is none"):
        Registry(tmp_path / "nowhere").resolve("model")


@pytest.mark.parametrize("version", ["../1", "", ".", "/"])
def test_a_version_cannot_leave_the_registry(registry: Registry, version: str) -> None:
    with pytest.raises(PackageError, match="no version"):
        registry.load("model", version)
