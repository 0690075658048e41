from __future__ import annotations

import pickle
import subprocess

import numpy as np
import pytest
from river import base, drift

from streamserve.errors import ConfigurationError
from streamserve.monitoring.drift import Detector
from streamserve.monitoring.pickles import pickle_object, unpickle_object

NUMERIC = [
    drift.ADWIN(),
    drift.PageHinkley(threshold=5),
    drift.KSWIN(alpha=0.05, seed=3),
    drift.DummyDriftDetector(trigger_method="random", t_0=100, w=50, seed=1),
    drift.NoDrift(),
]
BINARY = [
    drift.binary.DDM(),
    drift.binary.EDDM(),
    drift.binary.FHDDM(),
    drift.binary.HDDMA(),
    drift.binary.HDDMW(),
]


class EveryThird(base.DriftDetector):
    """Every third positive value: a detector as a user would write one."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def update(self, x: float) -> None:
        self.n += int(x > 0)
        self._drift_detected = self.n % 3 == 0


def drifts(detector: Detector, values: list[float]) -> list[bool]:
    found: list[bool] = []
    for value in values:
        if isinstance(detector, base.BinaryDriftDetector):
            detector.update(x=value > 1)
        else:
            detector.update(value)
        found.append(detector.drift_detected)
    return found


def stream() -> list[float]:
    rng = np.random.default_rng(11)
    return np.concatenate([rng.normal(step, 1, size=150) for step in (0, 2, 0)]).tolist()


@pytest.mark.parametrize("template", [*NUMERIC, *BINARY], ids=lambda one: type(one).__name__)
def test_every_detector_of_river_goes_on_after_unpickling_as_if_nothing_had_been(template: Detector) -> None:
    values, uninterrupted, stopped = stream(), template.clone(), template.clone()
    expected = drifts(uninterrupted, values)
    found = drifts(stopped, values[:200])
    found += drifts(unpickle_object(pickle_object(stopped)), values[200:])
    assert found == expected


def test_a_detector_of_the_users_own_module_is_let_in_when_configured() -> None:
    data = pickle_object(EveryThird())
    assert isinstance(unpickle_object(data, {__name__}), EveryThird)
    with pytest.raises(ConfigurationError, match="EveryThird, which is not allowed"):
        unpickle_object(data)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return subprocess.check_call, ("false",)


class ReachesOut:
    def __reduce__(self) -> tuple[object, tuple[object, str]]:
        return getattr, (drift.ADWIN(), "__class__")


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Malicious()),
        pickle.dumps(eval),
        pickle.dumps(ReachesOut()),
        b"criver.base.base\nsys\n.",
        b"criver.drift.kswin\nrandom\n.",
        pickle.dumps(len)[:2] + b"\x8c\x10river.base.base\x94\x8c\x0bsys.modules\x94\x93\x94.",
    ],
    ids=["system", "eval", "getattr", "module", "imported", "dotted"],
)
def test_bytes_that_name_anything_else_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"not allowed|cannot be read"):
        unpickle_object(data, {__name__})


def test_damaged_bytes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        unpickle_object(pickle_object(drift.ADWIN())[:-20])


def test_a_detector_that_cannot_be_pickled_is_named() -> None:
    detector = EveryThird()
    detector.helper = lambda: None  # pyright: ignore[reportAttributeAccessIssue] - what users do
    with pytest.raises(ConfigurationError, match="EveryThird cannot be kept"):
        pickle_object(detector)
