"""What an app keeps in files: tables on disk, the feature store, the models."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

from streamserve.dataflow.planning.nodes import FeaturesNode, ModelNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.runtime import registry_of
from streamserve.errors import FeatureRowError, StreamserveError
from streamserve.folders import state_home
from streamserve.ops.doctor.finding import Finding, fault, fine, unknown, warning
from streamserve.settings import Settings

if TYPE_CHECKING:
    from streamserve.features.base import Scalar

__all__ = ["feature_store", "models", "state_directory"]

_LITTLE, _TOO_LITTLE = 1 << 30, 100 << 20
"""RocksDB writes files of 64 MiB and needs room for the next while it merges the last ones."""
_SAMPLE_KEYS: tuple[Scalar, ...] = ("streamserve-doctor", 0)
"""Keys that no store has a row for: of either type that join keys have."""
_TRIALS = 64


def state_directory(plan: Plan, settings: Settings) -> Iterator[Finding]:
    """Say whether tables on disk have a folder that can be written and has room."""
    if not any(node.store == "disk" for node in plan.tables.values()):
        return
    if find_spec("rocksdict") is None:
        what = "tables on disk need the package rocksdict"
        yield fault("state-store", "tables on disk", what, "pip install 'streamserve[disk]'")
    folder = settings.state_dir or state_home() / "tables"
    yield _folder(folder, _nearest(folder))


def _nearest(folder: Path) -> Path:
    """Return the folder, or what there is on the way to it."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _folder(folder: Path, there: Path) -> Finding:
    where = f"state directory {folder}"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        problem = "cannot be written" if there.is_dir() else "is not a directory"
        remedy = "set STREAMSERVE_STATE_DIR to a folder that the worker can write"
        return fault("state-directory", where, f"{there} {problem}", remedy)
    free = shutil.disk_usage(there).free
    if free < _LITTLE:
        told = fault if free < _TOO_LITTLE else warning
        return told("state-directory", where, f"{free >> 20} MiB are free", "make room, or choose another disk")
    return fine("state-directory", where, f"can be written, {free >> 30} GiB are free")


def feature_store(node: FeaturesNode, settings: Settings) -> Iterator[Finding]:
    """Say whether a feature service can be asked, by a look-up of keys that nobody has."""
    where = f"features {node.service}"
    if settings.feature_repo is None:
        remedy = "App(..., feature_repo=...) or STREAMSERVE_FEATURE_REPO"
        yield fault("feature-store", where, "no feature repository is named", remedy)
        return
    try:
        answered = _ask(settings.feature_repo, node)
    except StreamserveError as error:
        yield fault("feature-store", where, str(error), "mend what it says, then run 'streamserve check MODULE:APP'")
        return
    except Exception as error:  # Feast's stores raise what they like
        what = f"the online store does not answer: {type(error).__name__}"
        yield fault("feature-store", where, what, "check online_store in feature_store.yaml, and that it is up")
        return
    if answered:
        yield fine("feature-store", where, "the online store answers")
    else:
        what = "opened, but no trial look-up fits the types of its join keys"
        yield unknown("feature-store", where, what, "ask it by hand: store.get_online_features(...)")


def _ask(repo: Path, node: FeaturesNode) -> bool:
    from streamserve.features.feast import FeastReader, describe

    described = describe(repo, node.service, full_feature_names=node.join.full_feature_names)
    asked = (*described.join_keys, *described.request_fields)
    reader = FeastReader(repo, node.service, options=node.join)
    try:
        for values in islice(product(_SAMPLE_KEYS, repeat=len(asked)), _TRIALS):
            try:
                reader.read({name: [value] for name, value in zip(asked, values, strict=True)}, None)
            except FeatureRowError:
                continue
            return True
        return False
    finally:
        reader.close()


def models(node: ModelNode, settings: Settings) -> Iterator[Finding]:
    """Say whether a model's package is whole, and its bytes those that its manifest pins."""
    where = f"model {node.name}"
    try:
        registry = registry_of(settings)
        package = registry.load(node.name, registry.resolve(node.name, alias=node.alias, version=node.version))
    except StreamserveError as error:
        yield fault("model-package", where, str(error), "publish the version anew, or point the alias at a sound one")
    else:
        digest = package.manifest.sha256
        yield fine("model-package", where, f"version {package.manifest.version}, sha256 {digest[:12]}… as published")
