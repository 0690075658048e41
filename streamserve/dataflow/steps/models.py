"""A model in the dataflow: for whole columns, and as the answer to agents' predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter, is_, itemgetter
from typing import Any, Final, NamedTuple, TypeAlias, cast

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.effects import Answers, Ready
from streamserve.dataflow.driving.foresight import Columns, Foreseen, ForeseenRows, fields_of
from streamserve.dataflow.planning.nodes import ModelNode
from streamserve.errors import ConfigurationError, ModelRowError
from streamserve.features.base import BatchRow, FeatureRow
from streamserve.inference.outputs import typed_outputs
from streamserve.inference.runner import Runner, Scores, TakesEverything
from streamserve.observer import Observer
from streamserve.records import Prediction

Arguments: TypeAlias = tuple[tuple[object, ...], dict[str, Any]]
"""What an agent gives to ``predict``: rows by position, values by keyword."""


FORGOTTEN: Final = -1
"""Stands in an observation for a row that was scored in vain."""


class Observation(NamedTuple):
    """A scored run: which rows of the batch, with which inputs, to which outputs."""

    rows: Sequence[int]
    columns: Mapping[str, Sequence[Any]]
    scores: Scores


class ModelScorer:
    """Scores with one loaded version; it keeps what monitors want to see of the current batch."""

    priority = 1

    def __init__(self, node: ModelNode, runner: Runner, observer: Observer, *, observed: bool) -> None:
        self.node = node
        self.runner = runner
        self._observer = observer
        self._observed = observed
        self._observations: list[Observation] = []
        self._asking: Sequence[int] = ()
        self._known_positions: dict[tuple[object, ...], Mapping[str, int]] = {}
        self._observed_before = 0
        self.has_forgotten = False
        self.foreseen: Ready | None = None

    def score(self, columns: Mapping[str, Sequence[Any]], rows: Sequence[int]) -> Scores:
        """Score ``len(rows)`` rows given as columns; ``rows`` are their places in the step's batch."""
        scores, seconds = self._run(columns, len(rows))
        self._note_run(Observation(rows, columns, scores), seconds)
        return scores

    def _run(self, columns: Mapping[str, Sequence[Any]], size: int) -> tuple[Scores, float]:
        """Return the scores, and the seconds that they took."""
        started = time.perf_counter()
        self._observer.entered("model", self.node.name)
        try:
            scores = self.runner.predict(columns, size)
        finally:
            self._observer.left()
        return scores, time.perf_counter() - started

    def _note_run(self, seen: Observation, seconds: float) -> None:
        self._observer.model_run(self.node.name, len(seen.rows), len(seen.scores.errors), seconds)
        if self._observed:
            self._observations.append(seen)

    def predictions(self, scores: Scores) -> list[Any]:
        """Return a ``Prediction`` for each row, or the ``ModelRowError`` that it got."""
        name, version = self.runner.name, self.runner.version
        outputs: list[Any] = typed_outputs(self.node.output, scores)  # pyright: ignore[reportUnknownVariableType] - the plan's types are not generic
        if not scores.errors:
            return list(map(Prediction, outputs, repeat(name), repeat(version)))
        return [scores.errors.get(row) or Prediction(output, name, version) for row, output in enumerate(outputs)]

    def resolve(self, payloads: Sequence[Any], rows: Sequence[int], batch: RecordBatch | None) -> Answers:  # noqa: ARG002 - the port of targets
        """Answer agents' predictions in one run of the model."""
        try:
            columns = self._columns(payloads)
        except ConfigurationError:
            raise
        except Exception:  # rows are not alike, or one of them is at fault
            return self._resolve_unlike(payloads, rows)
        scores = self.score(columns, rows)
        return Answers(self.predictions(scores), scores.errors)

    def given(self, payload: Any) -> Sequence[Any] | None:
        """Return the rows of ``payload``; ``None`` where it has keywords, which the agent computes."""
        rows, values = payload
        return None if values or isinstance(self.runner, TakesEverything) else rows

    def foresee(self, columns: Columns, event: int, places: Mapping[int, int], batch: RecordBatch) -> Foreseen | None:
        """Score all of ``batch`` at once; see ``Foreseeing``. Events go with feature rows alone, which stay."""
        rows = tuple(column[0] for column in columns)
        others = [row for position, row in enumerate(rows) if position != event]
        if isinstance(rows[event], Mapping) or not all(type(row) is BatchRow for row in others):
            return None
        try:
            positions = self._positions(rows, {})
            inputs = _gathered(columns, positions)
        except Exception:  # rows are not alike, or one of them is at fault: asking tells which
            return None
        fields = fields_of([name for name, position in positions.items() if position == event])
        scores, seconds = self._run(inputs, len(batch))
        answers = self.predictions(scores)
        result = Observation(range(len(batch)), inputs, scores), seconds
        return ForeseenRows(columns, event, places, fields, answers, scores.errors, result)

    def settle(self, foreseen: Foreseen) -> None:
        """Take the rows whose predictions were taken for those that were scored."""
        seen, seconds = foreseen.result
        rows = foreseen.rows()
        if len(rows) < len(seen.rows):
            columns = {name: _picked(column, rows) for name, column in seen.columns.items()}
            outputs = {name: _picked(column, rows) for name, column in seen.scores.columns.items()}
            seen = Observation(rows, columns, Scores(outputs, {}))
        if rows:
            self._note_run(seen, seconds)

    def _resolve_unlike(self, payloads: Sequence[Arguments], rows: Sequence[int]) -> Answers:
        """Answer predictions that were asked for in different ways; a row that lacks an input is refused."""
        inputs: dict[int, dict[str, Any]] = {}
        errors: dict[int, ModelRowError] = {}
        for position, payload in enumerate(payloads):
            try:
                inputs[position] = self._inputs(payload)
            except ModelRowError as error:
                errors[position] = error
            except ConfigurationError:
                raise
            except Exception as raised:
                text = f"model {self.node.name!r}: an input of the row asked for raised {type(raised).__name__}"
                errors[position] = ModelRowError(text)
        answers: list[Any] = [None] * len(payloads)
        if inputs:
            columns = {name: [row[name] for row in inputs.values()] for name in self.runner.inputs}
            scores = self.score(columns, [rows[position] for position in inputs])
            for index, (position, answer) in enumerate(zip(inputs, self.predictions(scores), strict=True)):
                answers[position] = answer
                if index in scores.errors:
                    errors[position] = scores.errors[index]
        return Answers(answers, errors)

    def _inputs(self, payload: Arguments) -> dict[str, Any]:
        """Return the inputs of one row."""
        rows, values = payload
        return {
            name: values[name] if name in values else _value(rows[self._position(name, rows)], name)
            for name in self.runner.inputs
        }

    def look_at(self, batch: RecordBatch, rows: Sequence[int]) -> None:  # noqa: ARG002 - as joins have it
        """Note for which rows a batch agent is about to ask."""
        self._asking = rows
        self._observed_before = len(self._observations)

    def forget_look(self) -> None:
        """Forget what a batch agent asked for since ``look_at``: it raised, and is given the rows again."""
        del self._observations[self._observed_before :]

    def forget(self, rows: Collection[int]) -> None:
        """Forget what was asked for ``rows``: their agent raised, and is given them again."""
        self.has_forgotten = True
        self._observations = [
            seen._replace(rows=[FORGOTTEN if row in rows else row for row in seen.rows]) for seen in self._observations
        ]

    def many(self, rows: Sequence[Sequence[object]], values: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
        """Answer a batch agent: a prediction for each place in the sequences given.

        Raises:
            ModelRowError: the model refuses one of the rows.
        """
        size = len(next(iter([*rows, *values.values()]), ()))
        given = [
            (tuple(column[i] for column in rows), {name: column[i] for name, column in values.items()})
            for i in range(size)
        ]
        places = self._asking if len(self._asking) == size else range(size)
        if not given:
            return []
        answers, errors = self.resolve(given, places, None)
        for error in errors.values():
            raise error
        return answers

    def names_of(self, events: Sequence[object], features: Mapping[str, object]) -> Iterable[str]:
        """Return what the model is given of ``events``, of which there is at least one, and their features."""
        if isinstance(self.runner, TakesEverything):
            return dict.fromkeys([*_fields(events[0]), *features])
        return self.runner.inputs

    def take_observations(self) -> list[Observation]:
        """Return what was scored since the last call; with ``has_forgotten``, some rows of it are ``FORGOTTEN``."""
        taken, self._observations = self._observations, []
        return taken

    def _columns(self, payloads: Sequence[Arguments]) -> dict[str, Sequence[Any]]:
        """Gather each input of the model from the row, or the keyword, that has its name."""
        if isinstance(self.runner, TakesEverything):
            return _everything(payloads, self.runner.inputs)
        rows, values = payloads[0]
        given, keywords = zip(*payloads, strict=True)
        columns = _gathered(list(zip(*given, strict=True)), self._positions(rows, values))
        columns.update({name: list(map(itemgetter(name), keywords)) for name in values if name in self.runner.inputs})
        return columns

    def _positions(self, rows: Sequence[object], values: Mapping[str, Any]) -> Mapping[str, int]:
        """Return which of ``rows`` has each input that is not in ``values``; remembered by their types.

        Mappings of free form are looked at each time: one may have what another lacks.
        """
        asked = (*map(type, rows), None, *values)
        known = self._known_positions.get(asked)
        if known is None:
            known = {name: self._position(name, rows) for name in self.runner.inputs if name not in values}
            if not any(_is_free(row) for row in rows):
                self._known_positions[asked] = known
        return known

    def _position(self, name: str, rows: Sequence[object]) -> int:
        found = [position for position, row in enumerate(rows) if _has(row, name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(type(row).__name__ for row in rows) or "nothing"
        what = "is in none" if not found else "is in several"
        text = (
            f"model {self.node.name!r}: input {name!r} {what} of what predict() was given ({names})."
            f" Pass a row that has it, or {name}=... by keyword."
        )
        if not found and any(_is_free(row) for row in rows):
            raise ModelRowError(text)  # an object of free form lacks it, which another event's may have
        raise ConfigurationError(text)


def _gathered(columns: Columns, positions: Mapping[str, int]) -> dict[str, Sequence[Any]]:
    """Return each input by name, read from that of ``columns`` that has it."""
    readers = [_reader(column) for column in columns]
    return {name: readers[position](name) for name, position in positions.items()}


def _everything(payloads: Sequence[Arguments], inputs: Iterable[str]) -> dict[str, Sequence[Any]]:
    """Return all that was given by name: keywords before rows, later rows before earlier ones."""
    merged: list[dict[str, Any]] = []
    for rows, values in payloads:
        merged.append({name: _value(row, name) for row in rows for name in _fields(row)} | values)
    names = dict.fromkeys([*inputs, *(name for row in merged for name in row)])
    return {name: [row.get(name) for row in merged] for name in names}


def _fields(row: object) -> Iterable[str]:
    """Return the names of what a row holds: of a mapping, a struct, a model, a dataclass or a plain object."""
    if isinstance(row, Mapping):
        return cast("Mapping[str, Any]", row)
    for declared in ("__struct_fields__", "model_fields", "__dataclass_fields__"):
        if names := getattr(type(row), declared, None):
            return names
    return vars(row)


def _is_free(row: object) -> bool:
    """Return whether ``row`` is a mapping that may hold anything."""
    return isinstance(row, Mapping) and not isinstance(row, FeatureRow)


def _has(row: object, name: str) -> bool:
    return name in row if isinstance(row, Mapping) else hasattr(row, name)


def _value(row: object, name: str) -> Any:
    return cast("Mapping[str, Any]", row)[name] if isinstance(row, Mapping) else getattr(row, name)


def _reader(rows: Sequence[Any]) -> Callable[[str], Sequence[Any]]:
    """Return what reads one named value of each row; rows of one feature batch are read from its columns."""
    first = rows[0]
    if type(first) is not BatchRow:
        getter = itemgetter if isinstance(first, Mapping) else attrgetter
        return lambda name: list(map(getter(name), rows))
    batch = first.batch
    if not all(map(is_, map(attrgetter("batch"), rows), repeat(batch))):
        return lambda name: [row[name] for row in rows]
    indexes = list(map(attrgetter("index"), rows))
    if indexes == list(range(batch.size)):
        return batch.columns.__getitem__
    return lambda name: _picked(batch.columns[name], indexes)


def _picked(column: Any, indexes: Sequence[int]) -> Sequence[Any]:
    return column[indexes] if hasattr(column, "dtype") else [column[index] for index in indexes]
