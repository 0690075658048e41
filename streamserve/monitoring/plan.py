"""What to monitor of a model: plain data, checked where the user writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streamserve.monitoring.drift import Detector, DetectorTemplate, make_templates
from streamserve.monitoring.statistics import Measures

__all__ = ["MonitorPlan"]


@dataclass(frozen=True, slots=True)
class MonitorPlan:
    """What to monitor of a model.

    ``columns`` maps model inputs and prediction fields to ``str``, ``int``, ``float`` or ``bool``. ``window_ms`` is the
    length of the tumbling event-time windows in milliseconds. ``slices`` names columns by whose values statistics are
    split as well; they need not be monitored themselves. ``detectors`` run on ``detector_columns``, by default on every
    column that they fit (see ``DetectorTemplate.fits``), all rows together. ``sample_every`` overrides, by class name,
    how often a detector is fed.

    Raises:
        TypeError: a column's type or a detector is of another kind.
        ValueError: a duration or sampling cannot be, a column is unknown, a detector fits none of its columns.
    """

    model: str
    columns: Mapping[str, type]
    window_ms: int
    detectors: Sequence[Detector] = ()
    slices: Sequence[str] = ()
    detector_columns: Sequence[str] | None = None
    sample_every: Mapping[str, int] | None = None
    templates: Mapping[str, tuple[DetectorTemplate, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.window_ms < 1:
            raise ValueError(f"monitor of {self.model!r}: a window has to be 1 ms at least, not {self.window_ms} ms")
        unknown = sorted(set(self.detector_columns or ()) - set(self.columns))
        if unknown:
            raise ValueError(
                f"monitor of {self.model!r}: detector columns {unknown} are none of {sorted(self.columns)}"
            )
        Measures.of(self.columns, {}, self.slices)
        object.__setattr__(self, "templates", self._templates_by_column())

    def _templates_by_column(self) -> dict[str, tuple[DetectorTemplate, ...]]:
        templates = make_templates(self.detectors, self.sample_every)
        names = self.columns if self.detector_columns is None else self.detector_columns
        fitting = {name: tuple(one for one in templates if one.fits(self.columns[name])) for name in names}
        idle = {one.name for one in templates} - {one.name for chosen in fitting.values() for one in chosen}
        if idle:
            raise ValueError(
                f"monitor of {self.model!r}: {sorted(idle)} fit no column of {sorted(names)}. "
                "Binary detectors want a bool column, the others a number."
            )
        return {name: chosen for name, chosen in fitting.items() if chosen}
