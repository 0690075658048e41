"""The sets of predictions that are measured: all of a model, one version, one slice, each in all time or a window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamserve.monitoring.labels.entries import FORMAT, Outcome, Predicted, unknown_format, unreadable
from streamserve.monitoring.labels.plan import PerformancePlan, Window
from streamserve.monitoring.rows import Floats
from streamserve.monitoring.windows import OTHER

if TYPE_CHECKING:
    from streamserve.monitoring.labels.metrics import MetricSet, Templates

__all__ = ["MAX_VALUES", "Names", "Scope", "ScopeKey", "Settled", "decode_scope", "encode_scope"]

MAX_VALUES = 50
"""How many versions of a model, and values of a slice column, are told apart; further ones go together as ``other``."""

_STATUSES = ("matched", "unlabelled", "repeated", "late", "unpredicted")
_CODES = {status: code for code, status in enumerate(_STATUSES)}
_MATCHED = _CODES["matched"]
_MISSING = "null"


class ScopeKey(NamedTuple):
    """Which predictions: of a window (``None`` for all time), a version and a slice (``None`` for all)."""

    window: int | None
    model: str | None
    version: str | None = None
    slice: str | None = None


class Settled(NamedTuple):
    """A batch of outcomes as arrays of shape ``(n,)``: status codes, whether early, truths and scores, 0 without."""

    codes: NDArray[np.int64]
    early: NDArray[np.bool_]
    truths: Floats
    scores: Floats

    @staticmethod
    def of(outcomes: list[Outcome]) -> Settled:
        """Return outcomes as arrays."""
        return Settled(
            np.array([_CODES[one.status] for one in outcomes], dtype=np.int64),
            np.array([one.is_early for one in outcomes], dtype=np.bool_),
            np.array([one.label.truth if one.label else 0.0 for one in outcomes], dtype=np.float64),
            np.array([one.prediction.score if one.prediction else 0.0 for one in outcomes], dtype=np.float64),
        )


class Names:
    """Which versions and slice values have a scope of their own: the first of each, up to ``MAX_VALUES``."""

    def __init__(self, plan: PerformancePlan) -> None:
        self._plan = plan
        self._known: dict[tuple[str, str], set[str]] = {}

    def scopes(self, prediction: Predicted) -> Iterator[ScopeKey]:
        """Yield the scopes of a prediction, without a window: shadows count for their version only."""
        model = prediction.model
        yield ScopeKey(None, model, self._bounded(model, "", prediction.version))
        if prediction.role == "shadow":
            return
        yield ScopeKey(None, model)
        for column, value in zip(self._plan.slices, prediction.slices, strict=False):
            bounded = self._bounded(model, column, _MISSING if value is None else value)
            yield ScopeKey(None, model, None, f"{column}={bounded}")

    def _bounded(self, model: str, column: str, value: str) -> str:
        known = self._known.setdefault((model, column), set())
        if value in known or len(known) < MAX_VALUES:
            known.add(value)
            return value
        return OTHER

    def remember(self, key: ScopeKey) -> None:
        """Take note of a scope that was restored."""
        if key.model is None or key.window is not None:
            return
        if key.version is not None:
            self._known.setdefault((key.model, ""), set()).add(key.version)
        elif key.slice is not None:
            column, _, value = key.slice.partition("=")
            self._known.setdefault((key.model, column), set()).add(value)


class Scope:
    """Counts by status, and the metrics of the matched pairs; ``changed`` since it was last reported."""

    __slots__ = ("after_close", "changed", "counts", "metrics", "pairs")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.pairs = 0
        self.after_close = 0
        self.changed = False
        self.metrics: MetricSet | None = None

    def add(self, settled: Settled, positions: list[int], templates: Templates) -> None:
        """Count the outcomes at ``positions``, and feed the metrics with those that are matched."""
        rows = np.array(positions, dtype=np.intp)
        codes = settled.codes[rows]
        for status, count in zip(_STATUSES, np.bincount(codes, minlength=len(_STATUSES)).tolist(), strict=True):
            self._count(status, count)
        self._count("early", int(settled.early[rows].sum()))
        matched = rows[codes == _MATCHED]
        self.changed = True
        if len(matched):
            from streamserve.monitoring.labels.metrics import MetricSet

            self.metrics = self.metrics or MetricSet(templates)
            self.metrics.update(settled.truths[matched], settled.scores[matched])
            self.pairs += len(matched)

    def _count(self, status: str, count: int) -> None:
        if count:
            self.counts[status] = self.counts.get(status, 0) + count


class _ScopeState(msgspec.Struct, array_like=True, frozen=True):
    """``Scope`` in the changelog, with the configuration that it was counted under."""

    window: Window
    counts: dict[str, int]
    pairs: int
    after_close: int
    changed: bool
    configurations: dict[str, str]
    metrics: bytes | None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_ScopeState)
_PREFIX = bytes([FORMAT])


def encode_scope(scope: Scope, window: Window, configurations: Mapping[str, str]) -> bytes:
    """Return a scope as a changelog value.

    Raises:
        ConfigurationError: a metric cannot be pickled.
    """
    dumped = None if scope.metrics is None else scope.metrics.dump()
    state = _ScopeState(
        window,
        dict(sorted(scope.counts.items())),
        scope.pairs,
        scope.after_close,
        scope.changed,
        dict(configurations),
        dumped,
    )
    return _PREFIX + _ENCODER.encode(state)


def decode_scope(value: bytes, templates: Templates) -> tuple[Scope, Window]:
    """Return the scope in a changelog value, and the length of the windows that it was counted under.

    Raises:
        ConfigurationError: the value has another format version, or is damaged.
    """
    if value[:1] != _PREFIX:
        raise unknown_format(value)
    try:
        state = _DECODER.decode(memoryview(value)[1:])
    except msgspec.MsgspecError as error:
        raise unreadable() from error
    scope = Scope()
    scope.counts, scope.pairs = state.counts, state.pairs
    scope.after_close, scope.changed = state.after_close, state.changed
    if state.metrics is not None:
        from streamserve.monitoring.labels.metrics import MetricSet

        scope.metrics = MetricSet.restore(state.metrics, state.configurations, templates)
    return scope, state.window
