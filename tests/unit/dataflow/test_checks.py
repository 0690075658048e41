"""What ``streamserve check`` finds without a broker, one app with one fault at a time."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module attribute
import pytest
from bytewax.dataflow import Stream as BytewaxStream
from pydantic import AwareDatetime, BaseModel
from river.drift import ADWIN
from river.drift.binary import DDM

from streamserve import App, Batch, Binary, Classification, Prediction, Record, Regression, Stream, Topic
from streamserve.dataflow.checks import Problem, check, problem_of
from streamserve.errors import PlanError
from streamserve.inference.manifest import (
    BinaryOutput,
    GoldenSample,
    InputSpec,
    OutputColumn,
    RegressionOutput,
    TensorSpec,
)
from streamserve.inference.package import MODEL_FILE, write_package
from streamserve.inference.registry import Registry
from streamserve.settings import load_settings
from tests.unit.features.feast_repo import build

Output: TypeAlias = Callable[[Any, Prediction[Any]], Any]


class Trip(BaseModel):
    trip_id: str
    origin: str
    carrier: str
    distance: float
    at: AwareDatetime


class Late(BaseModel):
    trip_id: str
    probability: float
    version: str


class Bare(BaseModel):
    trip_id: str


class Reading(BaseModel):
    origin: str
    wind: float
    sky: str
    gusts: int


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("check") / "repo"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="On demand feature view is an experimental", category=RuntimeWarning)
        build(path)
    return path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions of model ``late``: 1 takes what trips and features have, 2 a text as a number, 3 answers a quantity."""
    path = tmp_path_factory.mktemp("registry")
    binary, quantity = (
        BinaryOutput(probability=OutputColumn(tensor="p")),
        RegressionOutput(value=OutputColumn(tensor="p")),
    )
    wanted = {"1": ("distance", "wind"), "2": ("distance", "sky"), "3": ("distance", "wind"), "4": ("distance", "fare")}
    for version, names in wanted.items():
        answer = {"value": 1.0} if version == "3" else {"label": True, "probability": 1.0}
        write_package(
            path,
            name="late",
            version=version,
            onnx=b"not looked at",
            inputs=[InputSpec(name=name, type="float") for name in names],
            tensors=[TensorSpec(name=name, dtype="float32") for name in names],
            output=quantity if version == "3" else binary,
            golden=GoldenSample(rows=(dict.fromkeys(names, 1.0),), expected=(answer,)),
        )
    Registry(path).set_alias("late", "champion", "1")
    return path


@dataclasses.dataclass
class Trips:
    """A sound app, to which tests add a fault."""

    app: App
    trips: Topic[Trip, str]
    late: Topic[Late, str]
    check: Callable[[], list[Problem]]


@pytest.fixture
def sound(repo: Path, registry: Path) -> Trips:
    app = App("trips", feature_repo=repo, model_registry=registry)
    trips = app.topic("trips", Trip, key="trip_id", event_time="at")
    late = app.topic("late", Late, key="trip_id")
    return Trips(app, trips, late, lambda: check(app.plan(), load_settings(app.settings)))


def only(problems: list[Problem]) -> Problem:
    [problem] = problems
    assert problem.remedy
    return problem


def reading(sound: Trips) -> Trips:
    """Add an agent, so that the app reads something."""

    @sound.app.agent(sound.trips)
    async def look(stream: Stream[Trip]) -> None:
        async for _ in stream:
            pass

    assert look
    return sound


def scoring(
    sound: Trips, *, version: str | None = None, to: Topic[Any, Any] | None = None, output: Output | None = None
) -> Trips:
    """Add ``app.score`` with features and model."""
    features = sound.app.features("delay_v1", event=Trip)
    model = sound.app.model("late", inputs=[Trip, features], output=Binary, version=version)
    sound.app.score(sound.trips, features=features, model=model, to=to or sound.late, output=output)
    return sound


def test_a_sound_app_has_no_problems(sound: Trips) -> None:
    scoring(sound)
    assert sound.check() == []


def test_an_app_without_agents_reads_nothing(sound: Trips) -> None:
    assert "nothing is read" in only(sound.check()).what


def test_an_agent_with_no_input_is_refused_where_it_is_declared(sound: Trips) -> None:
    async def idle(stream: Stream[Trip]) -> None:
        del stream

    with pytest.raises(PlanError) as raised:
        sound.app.agent()(idle)
    problem = problem_of(raised.value)
    assert "at least one topic" in problem.what
    assert problem.remedy.endswith("of test_checks.py")


# --- names ----------------------------------------------------------------------------------------------------------


def test_two_agents_writing_one_changelog_are_found(sound: Trips) -> None:
    for agent, name in (("first", "trips.v1"), ("second", "trips_v1")):
        sound.app.batch_agent(sound.app.topic(name, Trip, key="trip_id"), to=sound.late, name=agent)(nothing)
    shared, same = sound.check()
    assert shared.where == "agents 'first' and 'second'"
    assert "write one changelog under 'trips_v1'" in shared.what
    assert (same.where, same.what) == ("topic 'trips_v1'", "is the same as 'trips.v1' to Kafka's metrics")


def nothing(batch: Batch[Trip]) -> Sequence[Late | None]:
    return [None] * len(batch)


@pytest.mark.parametrize("name", ["trips", "kafka", "timers", "trips_decode"])
def test_an_agent_with_the_name_of_another_step_is_found(sound: Trips, name: str) -> None:
    sound.app.batch_agent(sound.trips, to=sound.late, name=name)(nothing)
    assert f"would have the step {name!r}" in only(sound.check()).what


def test_a_dot_in_an_agents_name_is_found(sound: Trips) -> None:
    sound.app.batch_agent(sound.trips, to=sound.late, name="look.v2")(nothing)
    assert "has a '.'" in only(sound.check()).what


def test_an_agent_that_reads_what_it_writes_is_found(sound: Trips) -> None:
    @sound.app.agent(sound.trips, to=sound.trips)
    async def again(stream: Stream[Trip]) -> AsyncIterator[Trip]:
        async for trip in stream:
            yield trip

    assert again
    assert "each output is an input again" in only(sound.check()).what


def test_an_app_that_writes_to_anothers_dead_letters_is_found(sound: Trips) -> None:
    other = App("other")
    letters = sound.app.topic("other-dead-letters", Late, key="trip_id")
    sound.app.batch_agent(sound.trips, to=letters, name="look")(nothing)
    problems = check(sound.app.plan(), load_settings(sound.app.settings), [other.plan()])
    assert only(problems).what == "writes topic 'other-dead-letters', which is the engine's own in app 'other'"


# --- topics ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"key": "ticket"}, "key='ticket' is not a field of Trip; there are trip_id, origin"),
        ({"key": "trip_id", "event_time": "when"}, "event_time='when' is not a field of Trip"),
        ({"key": "trip_id", "event_time": "origin"}, "event_time='origin' is of type str"),
    ],
)
def test_a_field_that_a_topic_needs_and_has_not_is_found(sound: Trips, options: dict[str, str], what: str) -> None:
    sound.app.topic("others", Trip, **options)  # pyright: ignore[reportArgumentType, reportCallIssue] - by parameter
    assert only(reading(sound).check()).what.startswith(what)


@pytest.mark.parametrize("value_type", [dict[str, str], int])
def test_a_key_field_of_a_type_without_fields_is_found(sound: Trips, value_type: type) -> None:
    sound.app.topic("others", value_type, key="user")
    assert "it has no named fields" in only(reading(sound).check()).what


def test_a_type_that_json_cannot_hold_is_found(sound: Trips) -> None:
    sound.app.topic("others", type("Odd", (), {}), key=str)
    assert only(reading(sound).check()).what.startswith("no JSON codec for")


# --- features -------------------------------------------------------------------------------------------------------


def test_an_unknown_feature_service_is_found(sound: Trips) -> None:
    sound.app.features("delay_v9", event=Trip)
    problem = only(reading(sound).check())
    assert problem.where == "features 'delay_v9'"
    assert "no feature service 'delay_v9'" in problem.what


def test_a_missing_repository_is_found(sound: Trips, tmp_path: Path) -> None:
    reading(sound).app.features("delay_v1", event=Trip)
    settings = load_settings(sound.app.settings, {"feature_repo": tmp_path})
    assert "no feature_store.yaml" in only(check(sound.app.plan(), settings)).what
    settings = load_settings({"model_registry": tmp_path})
    assert "no feature repository is named" in only(check(sound.app.plan(), settings)).what


def test_an_event_without_the_join_keys_of_its_features_is_found(sound: Trips) -> None:
    reading(sound).app.features("delay_v1", event=Bare)
    whats = [problem.what for problem in sound.check()]
    assert [what.partition(",")[0] for what in whats] == ["need join key 'origin'", "need join key 'carrier'"]


def test_join_keys_may_be_renamed_and_request_fields_are_needed(sound: Trips) -> None:
    reading(sound).app.features("crosswind_v1", event=Trip, entity_row={"angle": "distance", "carier": "carrier"})
    assert "entity_row names 'carier', which the service does not ask for" in only(sound.check()).what


def test_a_row_type_that_features_do_not_fit_is_found(sound: Trips) -> None:
    @dataclasses.dataclass
    class Wind:
        wind: float
        speed: float

    reading(sound).app.features("wind_v1", event=Trip, row=Wind)
    assert only(sound.check()).what == "row type Wind needs 'speed', which the service does not give"


@pytest.mark.parametrize(
    ("value_type", "source", "what"),
    [
        (Reading, "wether", "have no push source 'wether' in the repository; there is weather"),
        (Bare, "weather", "are pushed from topic 'readings', whose Bare lacks origin, wind, sky, gusts"),
    ],
)
def test_a_push_that_cannot_work_is_found(sound: Trips, value_type: type, source: str, what: str) -> None:
    readings: Topic[Any, str] = sound.app.topic("readings", value_type, key=str)
    reading(sound).app.features("delay_v1", event=Trip).push_from(readings, push_source=source)
    assert only(sound.check()).what.startswith(what)


def test_a_push_that_nothing_asks_for_is_found(sound: Trips) -> None:
    readings = sound.app.topic("readings", Reading, key="origin")
    reading(sound).app.features("wind_v1", event=Reading).push_from(readings, push_source="weather")
    assert "which nothing reads: no agent takes Reading" in only(sound.check()).what


# --- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "what"),
    [
        ("2", "input 'sky' needs float, and gets str"),
        ("4", "input 'fare' (float) is not given; there is at, carrier, distance, "),
        ("9", "has no version '9'"),
    ],
)
def test_a_model_whose_signature_does_not_match_is_found(sound: Trips, version: str, what: str) -> None:
    scoring(sound, version=version)
    assert what in only(sound.check()).what


def test_without_declared_inputs_the_score_itself_is_checked(sound: Trips) -> None:
    sound.app.score(sound.trips, model=sound.app.model("late", output=Binary), to=sound.late)
    problem = only(sound.check())
    assert (problem.where, problem.what.partition(";")[0]) == (
        "agent 'score_late'",
        "input 'wind' (float) is not given",
    )


def test_an_input_in_two_places_is_found(sound: Trips) -> None:
    reading(sound).app.model("late", inputs=[Trip, Reading, sound.app.features("wind_v1", event=Trip)], output=Binary)
    assert "input 'wind' is in 2 of inputs=" in only(sound.check()).what


def test_a_model_that_answers_otherwise_than_declared_is_found(sound: Trips) -> None:
    reading(sound).app.model("late", output=Regression)
    assert "Regression needs 'value'" in only(sound.check()).what


def test_of_an_output_that_does_not_fit_the_one_that_does_is_named(sound: Trips) -> None:
    reading(sound).app.model("late", output=Classification)
    assert only(sound.check()).remedy == "declare output=Binary, the answer of a model of two classes"


def test_a_changed_model_file_is_found(sound: Trips, registry: Path) -> None:
    reading(sound).app.model("late", output=Binary)
    file = registry / "late" / "1" / MODEL_FILE
    content = file.read_bytes()
    file.write_bytes(b"something else")
    try:
        assert "the manifest pins" in only(sound.check()).what
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("option", ["slices", "columns", "detector_columns"])
def test_a_monitor_of_unknown_columns_is_found(sound: Trips, option: str) -> None:
    model = reading(sound).app.model("late", output=Binary)
    sound.app.monitor(model, detectors=[], window="1h", **{option: ["speed"]})
    assert only(sound.check()).what.startswith(f"{option} name 'speed', which is no input or output of version '1'")


def test_a_detector_that_fits_no_column_is_found(sound: Trips) -> None:
    model = reading(sound).app.model("late", output=Binary)
    sound.app.monitor(model, detectors=[ADWIN(), DDM()], window="1h", columns=["wind"])
    assert "DDM" in only(sound.check()).what


# --- scores ---------------------------------------------------------------------------------------------------------


def test_an_output_field_that_nothing_fills_is_found(sound: Trips) -> None:
    class Told(BaseModel):
        trip_id: str
        reason: str

    scoring(sound, to=sound.app.topic("told", Told, key="trip_id"))
    assert only(sound.check()).what.startswith(
        "output field 'reason' is in none of the prediction (label, probability)"
    )


def test_the_events_own_time_is_no_second_place(sound: Trips) -> None:
    class Timed(Trip):
        event_time: AwareDatetime

    class Told(BaseModel):
        trip_id: str
        event_time: AwareDatetime

    timed = sound.app.topic("timed", Timed, key="trip_id", event_time="event_time")
    told = sound.app.topic("told", Told, key="trip_id")
    features = sound.app.features("delay_v1", event=Timed)
    model = sound.app.model("late", inputs=[Timed, features], output=Binary)
    sound.app.score(timed, features=features, model=model, to=told)
    assert sound.check() == []


def test_the_prediction_goes_before_the_event(sound: Trips) -> None:
    class Rated(Trip):
        probability: float
        version: str

    rated = sound.app.topic("rated", Rated, key="trip_id")
    features = sound.app.features("delay_v1", event=Rated)
    model = sound.app.model("late", inputs=[Rated, features], output=Binary)
    sound.app.score(rated, features=features, model=model, to=sound.late)
    assert [problem.what for problem in sound.check()] == [
        "output field 'probability' is in the prediction and in the event; the prediction is taken",
        "output field 'version' is in its lineage and in the event; its lineage is taken",
    ]


def test_output_fields_of_other_types_than_what_fills_them_are_found(sound: Trips) -> None:
    class Told(BaseModel):
        trip_id: int
        distance: str
        label: str
        probability: float | None
        version: int

    scoring(sound, to=sound.app.topic("told", Told, key="trip_id"))
    assert [problem.what for problem in sound.check()] == [
        "output field 'distance' is str, and the event gives float",
        "output field 'label' is str, and the prediction gives bool",
    ]


def test_an_output_type_without_fields_is_found(sound: Trips) -> None:
    scoring(sound, to=sound.app.topic("told", dict[str, str], key=str))
    assert "has no fields to fill by name" in only(sound.check()).what


def test_an_output_that_is_built_may_be_anything(sound: Trips) -> None:
    def build(trip: Trip, prediction: Prediction[Binary]) -> dict[str, str]:
        return {trip.trip_id: prediction.version}

    scoring(sound, to=sound.app.topic("told", dict[str, str], key=str), output=build)
    assert sound.check() == []


# --- operators ------------------------------------------------------------------------------------------------------


def flow(sound: Trips, function: Callable[[BytewaxStream[Record[Trip]]], Any]) -> list[Problem]:
    sound.app.dataflow(sound.trips, to=sound.late, name="flow")(function)
    return sound.check()


def test_stateless_operators_are_welcome(sound: Trips) -> None:
    assert flow(sound, lambda stream: op.map("value", stream, lambda record: record.value)) == []


def test_operators_of_two_agents_with_one_step_id_are_found(sound: Trips) -> None:
    def value(stream: BytewaxStream[Record[Trip]]) -> Any:
        return op.map("value", stream, lambda record: record.value)

    sound.app.dataflow(sound.trips, to=sound.late, name="first")(value)
    assert only(flow(sound, value)).what == "has an operator 'value', which is the name of a step of agent 'first'"


def test_stateful_operators_are_found(sound: Trips) -> None:
    def count(stream: BytewaxStream[Record[Trip]]) -> Any:
        return op.count_final("count", stream, lambda record: record.value.origin)

    problem = only(flow(sound, count))
    assert "(stateful_batch) keeps state outside the transaction: use a table" in problem.what


def no_stream(_: Any) -> None:
    """Return nothing."""


def raising(stream: Any) -> Any:
    return stream.nope


@pytest.mark.parametrize(
    ("function", "what"), [(no_stream, "must return a Bytewax stream"), (raising, "raised AttributeError")]
)
def test_a_function_that_builds_no_stream_is_found(sound: Trips, function: Callable[[Any], Any], what: str) -> None:
    assert what in only(flow(sound, function)).what
