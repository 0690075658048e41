"""What is monitored is what was predicted: inputs that end as dead letters are neither counted nor logged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from streamserve import App, Regression, Reject, Stream
from streamserve.baseline import NumericBaseline
from streamserve.codecs.json import codec_for
from streamserve.codecs.keys import KeyCodec
from streamserve.codecs.rows import row_encoder
from streamserve.dataflow.batch import Failure, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.driving.driver import HandDriver
from streamserve.dataflow.driving.effects import ask
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.nodes import AgentNode, FeaturesNode, ModelNode
from streamserve.dataflow.planning.plan import Part
from streamserve.dataflow.runtime import LoadedModel
from streamserve.dataflow.steps.agents import AgentStep, BatchAgentStep, Side
from streamserve.dataflow.steps.features import FeatureJoin
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.dataflow.steps.monitors import Monitors, open_monitors
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.dataflow.steps.score import BuiltScoreStep, FilledScoreStep, Scorer
from streamserve.dataflow.steps.writers import OutcomeWriter, TopicWriter
from streamserve.errors import FeatureRowError, ModelRowError, OversizeError
from streamserve.features.base import FeatureBatch
from streamserve.inference.onnx import load_runner
from streamserve.inference.package import load_package, write_package
from streamserve.inference.runner import Scores
from streamserve.kafka.quarantine import Quarantine
from streamserve.monitoring.monitor import GroupMonitor
from streamserve.monitoring.plan import MonitorPlan
from streamserve.observer import Observer
from streamserve.records import Coordinates, Prediction
from tests.unit.dataflow.fakes import batch_of
from tests.unit.inference.onnx_models import float_package

PLAN = MonitorPlan("double", {"n": int, "value": float}, window_ms=1_000)


class Event(msgspec.Struct, frozen=True):
    n: int
    name: str = "plain"


class Result(msgspec.Struct, frozen=True):
    n: int
    value: float
    name: str = "plain"


class Double:
    """A runner that doubles ``n`` and refuses negative ones; it remembers what it was given."""

    name, version, sha256, batch_size = "double", "1", "", 64
    inputs: Mapping[str, type] = {"n": int}
    outputs: Mapping[str, Any] = {"value": float}

    def __init__(self) -> None:
        self.seen: list[int] = []

    def predict(self, columns: Mapping[str, Sequence[Any]], size: int) -> Scores:
        numbers = list(columns["n"])
        assert len(numbers) == size
        self.seen += numbers
        errors = {row: ModelRowError("negative") for row, n in enumerate(numbers) if n < 0}
        return Scores({"value": [2.0 * n for n in numbers]}, errors)


class EvenFeatures:
    """A reader that cannot be asked for multiples of 10, with a value that JSON lacks for multiples of 7."""

    service = "even"
    join_keys: tuple[str, ...] = ("n",)
    request_fields: tuple[str, ...] = ()
    features: Mapping[str, type] = {"even": bool}

    def read(self, keys: Mapping[str, Sequence[Any]], event_times_ms: Sequence[int] | None) -> FeatureBatch:
        del event_times_ms
        numbers = keys["n"]
        if any(n % 10 == 0 for n in numbers):
            raise FeatureRowError("cannot be asked for")
        return FeatureBatch(
            len(numbers), {"even": [object() if n % 7 == 0 else not n % 2 for n in numbers]}, {}, [0] * len(numbers)
        )

    def push(self, push_source: str, rows: Sequence[Mapping[str, object]]) -> None:
        raise NotImplementedError

    def flush_pushes(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Heard(Observer):
    def __init__(self) -> None:
        self.rows = 0
        self.discarded: list[tuple[str, int, int]] = []

    def state_discarded(self, state: str, partition: int, reasons: Sequence[str]) -> None:
        self.discarded.append((state, partition, len(reasons)))

    def features_unlogged(self, service: str, rows: int) -> None:
        assert service == "even"
        self.rows += rows


class House:
    """One model with its monitor, one feature service with its log, and the groups of two partitions."""

    def __init__(self) -> None:
        part = Part("part", ("in",), (), frozenset())
        groups = {("part", partition): Group(part, partition) for partition in (0, 1)}
        self.groups = list(groups.values())
        self.heard = Heard()
        self.monitors = Monitors({"double": PLAN}, {"double": lambda _: {}}, lambda: groups, "drift", self.heard)
        for group in self.groups:
            group.states = self.monitors.new_states(group, {})
        self.runner = Double()
        self.model = ModelScorer(ModelNode("double", Regression), self.runner, Observer(), observed=True)
        self.join = FeatureJoin(FeaturesNode("even", Event, log_rate=1.0), EvenFeatures(), "log", self.heard)
        self.refused: dict[Coordinates, Failure] = {}
        self.side = Side([self.join], [self.model], self.monitors, lambda _step, _batch: self.refused)
        self.writer = TopicWriter("out", codec_for(Result), KeyCodec("name"))
        self.outcomes = OutcomeWriter("a", ["out"], {"out": self.writer})
        self.policy = FailurePolicy("dead", {}, Quarantine(), Observer())

    def agent(self, function: Callable[[Stream[Event]], AsyncIterator[Any]]) -> AgentStep:
        driver = HandDriver(
            "a", lambda: function(Stream()), yields=True, ordering="unordered", record_of=lambda batch, _: batch
        )
        node = AgentNode("a", "agent", ("in",), "out", function)
        return AgentStep(node, driver, self.outcomes, self.side, self.policy)

    def batch_agent(self, function: Callable[[Sequence[Event]], Sequence[Any]]) -> BatchAgentStep:
        def call(values: Sequence[Event], _: object) -> Sequence[Any]:
            return function(values)

        node = AgentNode("a", "batch", ("in",), "out", call, max_size=64)
        return BatchAgentStep(node, lambda batch, row: batch.records[row], self.outcomes, self.side, self.policy)

    def score(self, build: Callable[[Event, Prediction[Any]], Any] | None = None) -> FilledScoreStep | BuiltScoreStep:
        node = AgentNode("a", "score", ("in",), "out", build, features="even", model="double")
        scorer = Scorer(node, self.join, self.model)
        if build is not None:
            return BuiltScoreStep(node, scorer, build, self.outcomes, self.side)
        return FilledScoreStep(node, scorer, self.writer, row_encoder(self.writer.codec), "name", self.side)

    def counted(self) -> dict[int, tuple[int, float | None]]:
        """Close all windows; return how many predictions each partition counted, and the mean of ``n``."""
        found: dict[int, tuple[int, float | None]] = {}
        for group in self.groups:
            monitor: Any = group.states["double"]
            closed = {statistics.column: statistics for statistics in monitor.advance(10**9)}
            if closed:
                assert closed["n"].count == closed["value"].count
                found[group.partition] = closed["n"].count, closed["n"].mean
        return found


@pytest.fixture
def house() -> House:
    return House()


def events(*numbers: int, partitions: Sequence[int] | None = None) -> RecordBatch:
    values = [Event(n, "\ud800" if n == 13 else "plain") for n in numbers]
    return batch_of(values, partitions=partitions, times_ms=[0] * len(values))


def failed(output: StepOutput) -> dict[int, str]:
    return {failure.record.offset() or 0: type(failure.error).__name__ for failure in output.failures}


def logged(output: StepOutput) -> list[int]:
    return [at.offset for emission, at in output.messages if emission.topic == "log" and isinstance(at, Coordinates)]


def test_an_event_whose_agent_raises_after_its_prediction_is_not_counted(house: House) -> None:
    async def agent(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            await ask(house.join, event)
            prediction = await ask(house.model, ((event,), {}))
            if event.n == 3:
                raise ValueError
            yield Result(event.n, prediction.output.value)

    output = house.agent(agent)(events(1, 2, 3, 4, partitions=[0, 1, 0, 1]))
    assert failed(output) == {2: "AgentError"}
    assert sorted(house.runner.seen) == [1, 2, 3, 4]
    assert house.counted() == {0: (1, 1.0), 1: (2, 3.0)}
    assert logged(output) == [0, 1, 3]


@pytest.mark.parametrize("wrong", ["no result", Result(3, 1.0, "\ud800")])
def test_an_event_whose_output_or_key_does_not_encode_is_not_counted(house: House, wrong: object) -> None:
    def agent(values: Sequence[Event]) -> Sequence[Any]:
        answers = house.model.many([values], {})
        return [
            wrong if event.n == 3 else Result(event.n, answer.output.value)
            for event, answer in zip(values, answers, strict=True)
        ]

    output = house.batch_agent(agent)(events(1, 3, 5))
    assert failed(output) == {1: "EncodeError"}
    assert house.counted() == {0: (2, 3.0)}


def test_a_row_without_features_is_neither_scored_nor_counted(house: House) -> None:
    output = house.score()(events(1, 10, -2, 5, 20))
    assert failed(output) == {1: "FeatureRowError", 2: "ModelRowError", 4: "FeatureRowError"}
    assert house.runner.seen == [1, -2, 5]
    assert house.counted() == {0: (2, 3.0)}
    [columns] = output.columns
    assert [msgspec.json.decode(value or b"")["value"] for value in columns.values] == [2.0, 10.0]
    assert [place.offset for place in columns.origins()] == [0, 3]


def test_a_batch_of_rows_without_features_is_all_failures(house: House) -> None:
    output = house.score()(events(10, 20))
    assert failed(output) == {0: "FeatureRowError", 1: "FeatureRowError"}
    assert (house.runner.seen, house.counted(), output.columns) == ([], {}, [])


def test_a_filled_result_whose_key_does_not_encode_is_its_events_failure(house: House) -> None:
    output = house.score()(events(1, 13, 3))
    assert failed(output) == {1: "EncodeError"}
    assert house.counted() == {0: (2, 2.0)}


def test_a_built_result_keeps_to_its_event_where_others_have_no_features(house: House) -> None:
    def build(event: Event, prediction: Prediction[Any]) -> Result | None:
        if event.n == 3:
            raise ValueError
        return Result(event.n, prediction.output.value) if event.n != 4 else None

    output = house.score(build)(events(10, 1, -5, 3, 4, 6))
    assert failed(output) == {0: "FeatureRowError", 2: "ModelRowError", 3: "AgentError"}
    [columns] = output.columns
    found = [msgspec.json.decode(value or b"") for value in columns.values]
    assert [(result["n"], result["value"]) for result in found] == [(1, 2.0), (6, 12.0)]
    assert house.counted() == {0: (3, pytest.approx(11 / 3))}  # what is filtered was predicted


def test_an_input_that_the_broker_refused_before_is_not_counted(house: House) -> None:
    batch = events(1, 2, 3)
    house.refused = {coordinates_of(batch.records[1]): Failure(batch.records[1], OversizeError("too large"))}
    output = house.score()(batch)
    assert house.counted() == {0: (2, 2.0)}
    assert logged(output) == [0, 2]


def test_columns_of_numpy_are_sifted_as_lists_are(house: House) -> None:
    def agent(values: Sequence[Event]) -> Sequence[Any]:
        numbers: Any = np.array([event.n for event in values])
        house.model.score({"n": numbers}, range(len(values)))
        return [Reject("three") if event.n == 3 else None for event in values]

    assert failed(house.batch_agent(agent)(events(1, 3, -5, 6))) == {1: "Reject"}
    assert house.counted() == {0: (2, 3.5)}


def test_times_are_those_of_the_rows_where_one_row_is_scored_twice_and_another_not(house: House) -> None:
    def agent(values: Sequence[Event]) -> Sequence[Any]:
        house.model.score({"n": [values[1].n]}, [1])
        house.model.score({"n": [values[1].n]}, [1])
        return [None] * len(values)

    batch = batch_of([Event(1), Event(2)], times_ms=[0, 5_000])
    house.batch_agent(agent)(batch)
    monitor: Any = house.groups[0].states["double"]
    assert {found.window_start.second for found in monitor.advance(10**9)} == {5}


def test_a_feature_row_that_json_lacks_is_used_and_counted_but_not_logged(house: House) -> None:
    output = house.score()(events(1, 7, 3, 14))
    assert failed(output) == {}
    assert logged(output) == [0, 2]
    assert house.heard.rows == 2
    assert house.counted() == {0: (4, 6.25)}


def test_what_a_restore_leaves_behind_is_told(house: House) -> None:
    house.score()(events(1, 2, 3))
    [group, _] = house.groups
    snapshot = group.states["double"].snapshot()
    house.monitors.new_states(group, {"double": snapshot})
    assert house.heard.discarded == []
    other = MonitorPlan("double", {"n": int}, window_ms=2_000)
    changed = Monitors({"double": other}, {"double": lambda _: {}}, dict, "drift", house.heard)
    changed.new_states(group, {"double": snapshot})
    assert house.heard.discarded == [("monitor of double", 0, 1)]


def deployed(models: Path, *versions: str) -> list[LoadedModel]:
    """Return versions of a model of one float ``x`` with the same baseline."""
    like = float_package(models.with_name("template"))
    made = like.manifest
    baseline = NumericBaseline(edges=(0.0,), counts=(5, 5), count=10, nulls=0, mean=0.0, variance=1.0)
    packages = [
        load_package(
            write_package(
                models,
                name=made.name,
                version=version,
                onnx=like.onnx,
                inputs=made.inputs,
                tensors=made.tensors,
                output=made.output,
                golden=made.golden,
                baseline={"x": baseline},
            )
        )
        for version in versions
    ]
    return [LoadedModel(load_runner(package), package) for package in packages]


def test_windows_that_a_version_left_open_are_closed_as_its_own_after_the_next_is_deployed(
    house: House, tmp_path: Path
) -> None:
    app = App("shop")
    app.monitor(app.model("model", output=Regression), detectors=(), window="1s")

    def fed(loaded: LoadedModel, snapshots: Mapping[str, bytes]) -> GroupMonitor:
        monitors = open_monitors(app.plan(), {"model": loaded}, dict, house.heard)
        assert monitors is not None
        monitor = cast("GroupMonitor", monitors.new_states(house.groups[0], snapshots)["model"])
        monitor.update({"x": [-1.0, 1.0], "value": [-1.0, 1.0]}, [0, 999], loaded.runner.version)
        return monitor

    first, second = deployed(tmp_path / "models", "1", "2")
    successor = fed(second, {"model": fed(first, {}).snapshot()})
    assert house.heard.discarded == []
    closed = {found.column: found for found in successor.advance(0)}
    assert (closed["x"].version, closed["x"].count, closed["x"].psi) == ("1", 2, 0.0)
