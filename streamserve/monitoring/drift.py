"""River's detectors on the values of a column."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Protocol, TypeAlias, cast
from zlib import crc32

import numpy as np
from river import base

from streamserve.monitoring.rows import Floats

__all__ = [
    "SAMPLE_EVERY",
    "Alarm",
    "ColumnDetectors",
    "Detector",
    "DetectorTemplate",
    "RunningDetector",
    "make_templates",
]

Detector: TypeAlias = base.DriftDetector | base.BinaryDriftDetector
"""What can be passed: any of River's detectors, or one's own of these base classes."""

SAMPLE_EVERY: Mapping[str, int] = {"KSWIN": 50}
"""Detectors that see only every n-th value unless told otherwise, by class name.

KSWIN runs a Kolmogorov-Smirnov test on each value, 136 µs against ADWIN's 0.1 µs; at 1 in 50 it costs 2.7 µs a value,
and its window of 100 reaches over 5,000.
"""


_STEADY = "ADWIN"
_WORTH_A_COPY = 64
"""Values from which on feeding a batch at once pays for copying the detector first (ADWIN: about 6 µs)."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Detector ``detector`` signalled a change at the value of batch position ``position``; its ``count``-th alarm."""

    position: int
    detector: str
    count: int


@dataclass(frozen=True, slots=True)
class DetectorTemplate:
    """A detector as the user configured it; it is never fed, only cloned.

    ``name`` is its class name, numbered from the second of a class on (``"ADWIN"``, ``"ADWIN-2"``). ``configuration``
    holds the class, all parameters and the sampling as text: state made under another configuration is not continued.
    """

    name: str
    detector: Detector
    sample_every: int
    binary: bool
    configuration: str

    def fits(self, column_type: type) -> bool:
        """Tell whether the detector can take a column's values: binary ones want ``bool``, others any number."""
        return issubclass(column_type, bool) if self.binary else issubclass(column_type, int | float)

    def start(self, column: str) -> Detector:
        """Return a fresh detector; one that draws random numbers without a seed gets the column's own.

        A seed makes replays and restarts come to the same alarms.
        """
        if getattr(self.detector, "seed", 0) is not None:
            return self.detector.clone()
        return cast("Detector", base.Base.clone(self.detector, {"seed": crc32(column.encode())}))


def make_templates(
    detectors: Sequence[Detector], sample_every: Mapping[str, int] | None = None
) -> tuple[DetectorTemplate, ...]:
    """Name the detectors and settle how often each is fed; ``sample_every`` is by class name.

    Raises:
        TypeError: an object is not a River drift detector.
        ValueError: a sampling is below 1, or names no detector of the list.
    """
    sampling = {**SAMPLE_EVERY, **(sample_every or {})}
    names = Counter[str]()
    templates: list[DetectorTemplate] = []
    for detector in detectors:
        kind = type(detector).__name__
        binary = _is_binary(detector)
        names[kind] += 1
        name = kind if names[kind] == 1 else f"{kind}-{names[kind]}"
        every = sampling.get(kind, 1)
        templates.append(DetectorTemplate(name, detector, every, binary, _configuration(detector, every)))
    unknown = sorted(set(sample_every or ()) - set(names))
    if unknown or any(template.sample_every < 1 for template in templates):
        raise ValueError(
            f"sample_every takes whole numbers from 1 by class name of {sorted(names)}; unknown: {unknown}"
        )
    return tuple(templates)


def _configuration(detector: Detector, sample_every: int) -> str:
    return f"{type(detector).__module__} {' '.join(repr(detector).split())} 1/{sample_every}"


def _is_binary(detector: object) -> bool:
    if not isinstance(detector, base.DriftDetector | base.BinaryDriftDetector):
        raise TypeError(f"{type(detector).__name__} is not a drift detector: pass instances such as drift.ADWIN()")
    return isinstance(detector, base.BinaryDriftDetector)


class _Fed(Protocol):
    """What both kinds of detectors have in common."""

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: float, /) -> None: ...


def _steady_update(detector: _Fed) -> Callable[[float], bool]:
    """Return what feeds ADWIN one more value, none of them a detection so far, and tells whether this one is.

    It is the compiled window inside ADWIN, whose own ``update`` adds two thirds of the cost and only starts afresh
    after a detection. A River that has no such window is fed in the public way.
    """
    window = getattr(detector, "_helper", None)
    if window is not None:
        return window.update

    def update(value: float) -> bool:
        detector.update(value)
        return detector.drift_detected

    return update


class RunningDetector:
    """One detector on one column, with its number of alarms so far."""

    __slots__ = ("_figures", "alarms", "detector", "template")

    def __init__(self, template: DetectorTemplate, detector: Detector, alarms: int = 0) -> None:
        self.template = template
        self.detector = detector
        self.alarms = alarms
        self._figures = _figure_names(detector)

    def feed(self, values: Sequence[float]) -> list[int]:
        """Update with each value and return the positions that set off an alarm.

        ADWIN is fed the whole batch at once; only where it detects something is the batch fed again, to a copy from
        before, to find the positions.
        """
        detector = cast("_Fed", self.detector)
        if len(values) < _WORTH_A_COPY or type(detector).__name__ != _STEADY:
            return self._feed_each(detector, values)
        before = deepcopy(self.detector)
        detector.update(values[0])  # which starts afresh where the value before it was a detection
        if not detector.drift_detected and True not in map(_steady_update(detector), values[1:]):
            return []
        self.detector = before
        return self._feed_each(cast("_Fed", before), values)

    @staticmethod
    def _feed_each(detector: _Fed, values: Sequence[float]) -> list[int]:
        update = detector.update
        hits: list[int] = []
        for position, value in enumerate(values):
            update(value)
            if detector.drift_detected:
                hits.append(position)
        return hits

    def figures(self) -> dict[str, float]:
        """Return the detector's public numbers that are defined and finite."""
        numbers: dict[str, object] = {name: getattr(self.detector, name, None) for name in self._figures}
        return {
            name: float(number)
            for name, number in numbers.items()
            if isinstance(number, int | float) and math.isfinite(number)
        }


def _figure_names(detector: Detector) -> tuple[str, ...]:
    """Return public properties and attributes, without the constructor's parameters and the flags of all detectors."""
    kind = type(detector)
    properties = [name for name in dir(kind) if isinstance(getattr(kind, name), property)]
    skipped = {"drift_detected", "warning_detected", *signature(kind).parameters}
    names = dict.fromkeys([*properties, *vars(detector)])
    return tuple(sorted(name for name in names if not name.startswith("_") and name not in skipped))


class ColumnDetectors:
    """All detectors of one column. Missing values are skipped; ``seen`` counts the others."""

    __slots__ = ("column", "running", "seen")

    def __init__(self, column: str, running: Sequence[RunningDetector], seen: int = 0) -> None:
        self.column = column
        self.running = tuple(running)
        self.seen = seen

    @classmethod
    def start(cls, column: str, templates: Sequence[DetectorTemplate]) -> ColumnDetectors:
        """Return fresh detectors.

        >>> from river.drift import PageHinkley
        >>> detectors = ColumnDetectors.start("delay", make_templates([PageHinkley(threshold=1.0)]))
        >>> detectors.update(np.array([0.0] * 40 + [9.0]))
        [Alarm(position=40, detector='PageHinkley', count=1)]
        """
        return cls(column, [RunningDetector(template, template.start(column)) for template in templates])

    def update(self, values: Floats) -> list[Alarm]:
        """Feed ``values`` in order, NaN where missing, and return the alarms, detector by detector."""
        present = ~np.isnan(values)
        positions = None if present.all() else np.flatnonzero(present)
        finite: list[float] = (values if positions is None else values[positions]).tolist()
        alarms: list[Alarm] = []
        for running in self.running:
            every = running.template.sample_every
            start = -self.seen % every
            sample: Sequence[float] = finite if every == 1 else finite[start::every]
            for hit in running.feed([value != 0 for value in sample] if running.template.binary else sample):
                running.alarms += 1
                place = start + hit * every
                position = place if positions is None else int(positions[place])
                alarms.append(Alarm(position, running.template.name, running.alarms))
        self.seen += len(finite)
        return alarms
