"""What a worker opens once: codecs, feature readers, models; and what each incarnation makes of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamserve.codecs.base import ValueCodec
from streamserve.codecs.json import BytesCodec, codec_for
from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.planning.nodes import FeaturesNode, TopicNode
from streamserve.dataflow.planning.plan import Plan
from streamserve.errors import ConfigurationError
from streamserve.features.base import FeatureReader
from streamserve.inference.package import ModelPackage
from streamserve.inference.registry import ModelRegistry, Registry
from streamserve.inference.runner import Runner
from streamserve.observer import Observer
from streamserve.settings import Settings

OpenReader: TypeAlias = Callable[[], FeatureReader]
"""Opens the reader of a feature service anew: pushed rows and caches of an incarnation end with it."""


@dataclass(slots=True)
class LoadedModel:
    """A version that answers, and the package it came from; a stand-in came from none."""

    runner: Runner
    package: ModelPackage | None


@dataclass(slots=True)
class Runtime:
    """Everything of a plan that is opened once and outlives incarnations."""

    codecs: Mapping[str, ValueCodec[Any]]
    keys: Mapping[str, KeyCodec[Any]]
    models: Mapping[str, LoadedModel]
    open_readers: Mapping[str, OpenReader]


def codec_of(node: TopicNode) -> ValueCodec[Any]:
    """Return the codec of a topic's values."""
    return BytesCodec() if node.value_type is None else codec_for(node.value_type)


def open_runtime(
    plan: Plan,
    settings: Settings,
    observer: Observer,
    readers: Mapping[str, OpenReader] | None = None,
    runners: Mapping[str, Runner] | None = None,
) -> Runtime:
    """Load the models, prepare the codecs and open the first feature readers.

    ``readers`` stands in for the feature repository, by service, ``runners`` for packages of the registry, by model.

    Raises:
        ConfigurationError: a model or a feature repository is missing or does not work.
        OutageError: the registry's storage does not answer.
    """
    return Runtime(
        {name: codec_of(node) for name, node in plan.topics.items()},
        {name: KeyCodec(node.key) for name, node in plan.topics.items()},
        {**_stand_ins(plan, runners or {}), **_load_models(plan, settings, observer, runners or {})},
        {
            name: (readers or {}).get(name) or _opens_feast(node, settings, observer)
            for name, node in plan.features.items()
        },
    )


def registry_of(settings: Settings) -> ModelRegistry:
    """Return the model registry that the settings name.

    Raises:
        ConfigurationError: they name none.
    """
    if settings.model_registry is None:
        raise ConfigurationError("models need a registry: App(..., model_registry=...) or STREAMSERVE_MODEL_REGISTRY")
    return Registry(settings.model_registry)


def _stand_ins(plan: Plan, runners: Mapping[str, Runner]) -> dict[str, LoadedModel]:
    return {name: LoadedModel(runner, None) for name, runner in runners.items() if name in plan.models}


def _load_models(
    plan: Plan, settings: Settings, observer: Observer, without: Collection[str]
) -> dict[str, LoadedModel]:
    nodes = {name: node for name, node in plan.models.items() if name not in without}
    if not nodes:
        return {}
    from streamserve.inference.onnx import load_runner

    registry = registry_of(settings)
    loaded: dict[str, LoadedModel] = {}
    for name, node in nodes.items():
        package = registry.load(name, registry.resolve(name, alias=node.alias, version=node.version))
        runner = load_runner(package)
        observer.model_loaded(name, runner.version, runner.sha256, runner.batch_size)
        loaded[name] = LoadedModel(runner, package)
    return loaded


def _opens_feast(node: FeaturesNode, settings: Settings, observer: Observer) -> OpenReader:
    if settings.feature_repo is None:
        raise ConfigurationError(
            f"features {node.service!r} need a Feast repository: App(..., feature_repo=...) or STREAMSERVE_FEATURE_REPO"
        )
    repo = settings.feature_repo
    observer.opening_features(node.service)
    from streamserve.features.feast import FeastReader

    def open_reader() -> FeatureReader:
        return FeastReader(repo, node.service, options=node.join, observer=observer)

    first = [open_reader()]  # what Feast loads then, hundreds of thousands of objects, is garbage to no collection
    return lambda: first.pop() if first else open_reader()
