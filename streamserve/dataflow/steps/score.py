"""The declared path: features, model and output as columns, no object per event on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

from streamserve.codecs.base import RowEncoder
from streamserve.dataflow.batch import Failure, InputRows, OutputColumns, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.driving.driver import Outcomes
from streamserve.dataflow.driving.faults import agent_error
from streamserve.dataflow.planning.nodes import AgentNode
from streamserve.dataflow.steps.agents import Side
from streamserve.dataflow.steps.features import FeatureJoin
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.dataflow.steps.writers import OutcomeWriter, TopicWriter
from streamserve.errors import ConfigurationError, EncodeError, EngineRestart, OutageError, RecordError
from streamserve.inference.runner import Scores
from streamserve.records import Prediction, to_datetime

LINEAGE = ("model", "version", "role", "event_time", "source_topic", "source_partition", "source_offset")
"""Names that an output's fields may have to be filled with where its row came from."""


class Scored(NamedTuple):
    """What became of a batch: ``rows`` of it were scored, in their order; ``errors`` are by row of the batch.

    A row whose features cannot be looked up is not scored.
    """

    batch: RecordBatch
    rows: Sequence[int]
    scores: Scores
    errors: dict[int, RecordError]


class Scorer:
    """Features and model over one batch: the part that both kinds of output share."""

    def __init__(self, node: AgentNode, join: FeatureJoin | None, model: ModelScorer) -> None:
        self._sources = frozenset(node.sources)
        self._join = join
        self.model = model

    @property
    def features(self) -> Collection[str]:
        """Return the names of the features that are joined."""
        return self._join.feature_names if self._join is not None else ()

    def __call__(self, batch: RecordBatch) -> Scored:
        """Return the rows that the agent reads, their scores, and the rows at fault."""
        selected = batch.select(self._sources)
        if not len(selected):
            return Scored(selected, range(0), Scores({}, {}), {})
        rows: Sequence[int] = range(len(selected))
        features: Mapping[str, Sequence[Any]] = {}
        errors: dict[int, RecordError] = {}
        if self._join is not None:
            found, faulty = self._join.read(selected.values, selected.times_ms, rows, selected.windows)
            features = found.columns
            errors.update(faulty)
        columns = {
            name: features[name] if name in features else list(map(attrgetter(name), selected.values))
            for name in self.model.names_of(selected.values, features)
        }
        if errors:
            rows = [row for row in rows if row not in errors]
            columns = {name: [column[row] for row in rows] for name, column in columns.items()}
        scores = self.model.score(columns, rows) if rows else Scores({}, {})
        errors.update({rows[place]: error for place, error in scores.errors.items()})
        return Scored(selected, rows, scores, errors)


class FilledScoreStep:
    """``app.score`` without ``output=``: the result's fields are filled by name from prediction, lineage and event."""

    def __init__(
        self,
        node: AgentNode,
        scorer: Scorer,
        writer: TopicWriter,
        encoder: RowEncoder,
        key_field: str | None,
        side: Side,
    ) -> None:
        self._node = node
        self._scorer = scorer
        self._writer = writer
        self._encoder = encoder
        self._key_field = key_field
        self._side = side

    def __call__(self, batch: RecordBatch) -> StepOutput:
        """Return one prediction for every event that the agent reads."""
        selected, rows, scores, errors = self._scorer(batch)
        good, kept, answers = rows, selected, scores.columns
        if errors:
            places = [place for place, row in enumerate(rows) if row not in errors]
            good = [rows[place] for place in places]
            kept = selected.take(good)
            answers = {name: [column[place] for place in places] for name, column in scores.columns.items()}
        output = StepOutput(self._node.name)
        if len(kept):
            columns = {name: self._column(name, answers, kept) for name in self._writer.codec.fields}
            payloads = self._encoder.encode_columns(list(columns.values()))
            keys = self._keys(columns, payloads)
            if EncodeError in set(map(type, payloads)):
                payloads, keys, good = self._sift(payloads, keys, good, errors)
            output.columns.append(
                OutputColumns(self._writer.topic, payloads, keys, InputRows(selected, good))  # pyright: ignore[reportArgumentType] - no errors are left
            )
        output.failures = [Failure(selected.records[row], errors[row]) for row in sorted(errors)]
        return self._side.collect(selected, output)

    def _column(self, name: str, answers: Mapping[str, Sequence[Any]], batch: RecordBatch) -> Sequence[Any]:
        if name in answers:
            return answers[name]
        if name in LINEAGE:
            return self._lineage(name, batch)
        return list(map(attrgetter(name), batch.values))

    def _lineage(self, name: str, batch: RecordBatch) -> Sequence[Any]:
        runner = self._scorer.model.runner
        constants = {"model": runner.name, "version": runner.version, "role": "champion"}
        if name in constants:
            return list(repeat(constants[name], len(batch)))
        if name == "event_time":
            return list(map(to_datetime, batch.times_ms or [record.timestamp()[1] for record in batch.records]))
        return [getattr(coordinates_of(record), name.removeprefix("source_")) for record in batch.records]

    def _keys(self, columns: Mapping[str, Sequence[Any]], payloads: list[bytes | EncodeError]) -> list[bytes | None]:
        """Return the key of each row; a row whose key fails gets the error as its payload."""
        if self._key_field is None:
            return [None] * len(payloads)
        column, encode = columns[self._key_field], self._writer.keys.encode_column
        try:
            return encode(column)
        except EncodeError:
            keys: list[bytes | None] = [None] * len(payloads)
            for row, key in enumerate(column):
                try:
                    [keys[row]] = encode([key])
                except EncodeError as error:
                    payloads[row] = error
            return keys

    @staticmethod
    def _sift(
        payloads: Sequence[bytes | EncodeError],
        keys: Sequence[bytes | None],
        rows: Sequence[int],
        errors: dict[int, RecordError],
    ) -> tuple[list[bytes | EncodeError], list[bytes | None], list[int]]:
        """Move the rows that did not encode to ``errors``; return the others."""
        errors.update({row: item for row, item in zip(rows, payloads, strict=True) if isinstance(item, EncodeError)})
        kept = [index for index, item in enumerate(payloads) if not isinstance(item, EncodeError)]
        return [payloads[i] for i in kept], [keys[i] for i in kept], [rows[i] for i in kept]


class FilledObjects:
    """Builds results by name as objects, for topics whose key is a function of the result."""

    def __init__(self, value_type: type, fields: Sequence[str]) -> None:
        self._value_type = value_type
        self._fields = fields

    def __call__(self, event: Any, prediction: Prediction[Any]) -> Any:
        """Return a result filled from the prediction, its lineage and the event."""
        lineage = {"model": prediction.model, "version": prediction.version, "role": prediction.role}
        return self._value_type(**{name: self._value(name, event, prediction, lineage) for name in self._fields})

    @staticmethod
    def _value(name: str, event: Any, prediction: Prediction[Any], lineage: Mapping[str, Any]) -> Any:
        if hasattr(prediction.output, name):
            return getattr(prediction.output, name)
        return lineage[name] if name in lineage else getattr(event, name)


class BuiltScoreStep:
    """``app.score`` with ``output=``, or to a topic whose key is a function: each result is built as an object."""

    def __init__(
        self, node: AgentNode, scorer: Scorer, build: Callable[[Any, Any], Any], writer: OutcomeWriter, side: Side
    ) -> None:
        self._node = node
        self._scorer = scorer
        self._build = build
        self._writer = writer
        self._side = side

    def __call__(self, batch: RecordBatch) -> StepOutput:
        """Return what ``output`` makes of every event and its prediction; ``None`` filters."""
        selected, rows, scores, errors = self._scorer(batch)
        outcomes = Outcomes(len(selected))
        outcomes.errors.update(errors)
        predictions = self._scorer.model.predictions(scores) if rows else []
        for row, prediction in zip(rows, predictions, strict=True):
            if row in errors:
                continue
            try:
                result = self._build(selected.values[row], prediction)
            except (EngineRestart, OutageError, ConfigurationError):
                raise
            except Exception as raised:
                outcomes.fail(row, agent_error(self._node.name, raised))
                continue
            if result is not None:
                outcomes.outputs[row] = [result]
        return self._side.collect(selected, self._writer.write(selected, outcomes))
