"""A repository's definitions without its registry: read from its Python files into one that is thrown away."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from feast import Entity, FeatureService, FeatureStore, RepoConfig
from feast.base_feature_view import BaseFeatureView
from feast.data_source import DataSource
from feast.repo_config import load_repo_config

from streamserve.errors import PlanError
from streamserve.features.feast.repository import registry_errors, resolve_in
from streamserve.features.service import ServiceDescription

_DEFINED = (Entity, FeatureService, BaseFeatureView, DataSource)


def has_registry(feature_repo: Path) -> bool:
    """Return whether there is a registry; one that is no local file counts as there."""
    registry = _config(feature_repo).registry
    if registry.registry_type != "file" or "://" in registry.path:
        return True
    return (feature_repo / registry.path).exists()


def resolve_definitions(feature_repo: Path, service: str) -> ServiceDescription:
    """Return what ``service`` needs and gives by the files in ``feature_repo``; see ``describe_definitions``."""
    with tempfile.TemporaryDirectory() as scratch, registry_errors(feature_repo, service):
        config = RepoConfig(
            project=_config(feature_repo).project,
            provider="local",
            registry=str(Path(scratch) / "registry.db"),
            online_store={"type": "sqlite", "path": str(Path(scratch) / "online.db")},
            entity_key_serialization_version=3,
        )
        config.repo_path = feature_repo.resolve()
        store = FeatureStore(config=config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is experimental in Feast is for who applies it
            store.apply(list(_defined(feature_repo)))
        return resolve_in(store, feature_repo, service).description


def _config(feature_repo: Path) -> Any:
    file = feature_repo / "feature_store.yaml"
    if not file.is_file():
        raise PlanError(f"no feature_store.yaml in {str(feature_repo)!r}: set feature_repo to a Feast repository")
    return load_repo_config(feature_repo, file)


def _defined(feature_repo: Path) -> Iterator[Any]:
    """Yield each object of Feast's that the files define, once."""
    found: dict[int, Any] = {}
    for file in sorted(feature_repo.glob("*.py")):
        if file.name != "__init__.py":
            found.update({id(item): item for item in vars(_run(file)).values() if isinstance(item, _DEFINED)})
    yield from found.values()


def _run(file: Path) -> ModuleType:
    spec = spec_from_file_location(f"streamserve_definitions_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise PlanError(f"{file} cannot be run: is it a Python file?")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PlanError(f"{file} raised {type(error).__name__}: mend it, `feast apply` shows where") from error
    return module
