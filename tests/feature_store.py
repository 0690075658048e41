"""A Feast repository with a SQLite online store, as tests and benchmarks start one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamserve.features.environment import environment_kept

if TYPE_CHECKING:
    from feast import FeatureStore, FileSource

_CONFIG = """\
project: {project}
provider: local
registry:
  path: data/registry.db
online_store:
  type: sqlite
  path: data/online.db
entity_key_serialization_version: 3
"""


def new_store(repo: Path, project: str) -> FeatureStore:
    """Write the configuration into the new folder ``repo`` and return its store, to which nothing is applied yet."""
    with environment_kept():
        from feast import FeatureStore

    (repo / "data").mkdir(parents=True)
    (repo / "feature_store.yaml").write_text(_CONFIG.format(project=project))
    return FeatureStore(repo_path=str(repo))


def history(repo: Path, name: str) -> FileSource:
    """Return a source that Feast asks for and nobody reads."""
    from feast import FileSource

    return FileSource(name=name, path=str(repo / f"{name}.parquet"), timestamp_field="event_timestamp")
