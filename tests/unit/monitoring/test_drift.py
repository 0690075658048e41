from __future__ import annotations

import numpy as np
import pytest
from river import drift

from streamserve.monitoring.drift import SAMPLE_EVERY, ColumnDetectors, Detector, make_templates
from streamserve.monitoring.rows import Floats

SHIFT = np.concatenate([np.random.default_rng(5).normal(size=600), np.random.default_rng(6).normal(4, 1, size=600)])


def positions(detector: Detector, values: Floats, sample_every: int = 1) -> list[int]:
    templates = make_templates([detector], {type(detector).__name__: sample_every})
    return [alarm.position for alarm in ColumnDetectors.start("x", templates).update(values)]


def test_alarms_are_those_of_the_bare_detector() -> None:
    bare, expected = drift.ADWIN(), list[int]()
    for position, value in enumerate(SHIFT.tolist()):
        bare.update(value)
        if bare.drift_detected:
            expected.append(position)
    assert expected
    assert positions(drift.ADWIN(), SHIFT) == expected


@pytest.mark.parametrize("size", [1, 63, 64, 500, 1200])
@pytest.mark.parametrize("detector", [drift.ADWIN(), drift.PageHinkley(threshold=20)])
def test_alarms_are_the_same_whatever_the_size_of_batches(detector: Detector, size: int) -> None:
    values = np.concatenate([SHIFT, SHIFT[::-1], SHIFT])
    running = ColumnDetectors.start("x", make_templates([detector]))
    batches = range(0, len(values), size)
    found = [start + alarm.position for start in batches for alarm in running.update(values[start:][:size])]
    whole = ColumnDetectors.start("x", make_templates([detector]))
    one_by_one = [place for place in range(len(values)) if whole.update(values[place:][:1])]
    assert found == one_by_one
    assert found


def test_a_detector_fed_in_batches_is_in_the_state_of_the_bare_detector() -> None:
    bare, running = drift.ADWIN(), ColumnDetectors.start("x", make_templates([drift.ADWIN()]))
    for start in range(0, len(SHIFT), 100):
        running.update(SHIFT[start : start + 100])
        for value in SHIFT[start : start + 100].tolist():
            bare.update(value)
        [fed] = [one.detector for one in running.running]
        assert isinstance(fed, drift.ADWIN)
        assert fed.drift_detected == bare.drift_detected
        assert (fed.width, fed.total, fed.variance) == (bare.width, bare.total, bare.variance)


def test_a_detector_of_the_same_name_is_fed_as_its_class_says() -> None:
    class ADWIN(drift.PageHinkley):
        """No window inside."""

    assert positions(ADWIN(threshold=20), SHIFT) == positions(drift.PageHinkley(threshold=20), SHIFT)


def test_missing_values_are_skipped_and_positions_are_those_of_the_batch() -> None:
    holes = np.insert(SHIFT, np.arange(0, len(SHIFT), 2), np.nan)
    shifted = [int(np.flatnonzero(~np.isnan(holes))[position]) for position in positions(drift.ADWIN(), SHIFT)]
    assert positions(drift.ADWIN(), holes) == shifted


def test_a_sampled_detector_sees_every_nth_value_across_batches() -> None:
    templates = make_templates([drift.PageHinkley(threshold=5)], {"PageHinkley": 7})
    whole = ColumnDetectors.start("x", templates)
    parts = ColumnDetectors.start("x", templates)
    alarms = whole.update(SHIFT)
    found = [start + alarm.position for start in range(0, len(SHIFT), 10) for alarm in parts.update(SHIFT[start:][:10])]
    assert found == [alarm.position for alarm in alarms]
    assert found
    assert all(position % 7 == 0 for position in found)


def test_kswin_is_sampled_unless_told_otherwise() -> None:
    assert [one.sample_every for one in make_templates([drift.KSWIN(seed=1)])] == [SAMPLE_EVERY["KSWIN"]]
    assert [one.sample_every for one in make_templates([drift.KSWIN(seed=1)], {"KSWIN": 3})] == [3]


def test_a_detector_without_a_seed_gives_the_same_alarms_every_time() -> None:
    assert positions(drift.KSWIN(alpha=0.05), SHIFT) == positions(drift.KSWIN(alpha=0.05), SHIFT) != []


def test_templates_are_not_touched() -> None:
    template = drift.ADWIN()
    positions(template, SHIFT)
    assert template.width == 0


def test_detectors_of_one_class_are_numbered() -> None:
    names = [one.name for one in make_templates([drift.ADWIN(), drift.ADWIN(delta=0.1), drift.PageHinkley()])]
    assert names == ["ADWIN", "ADWIN-2", "PageHinkley"]


def test_binary_detectors_fit_bool_columns_and_others_numbers() -> None:
    adwin, ddm = make_templates([drift.ADWIN(), drift.binary.DDM()])
    kinds = (bool, int, float, str)
    assert [adwin.fits(kind) for kind in kinds] == [True, True, True, False]
    assert [ddm.fits(kind) for kind in kinds] == [True, False, False, False]


def test_binary_detectors_are_fed_truth_values() -> None:
    rng = np.random.default_rng(7)
    values = np.where(np.arange(2000) < 1000, rng.random(2000) < 0.1, rng.random(2000) < 0.6).astype(float)
    bare = drift.binary.DDM()
    expected = list[int]()
    for position, value in enumerate(values.tolist()):
        bare.update(x=value == 1)
        if bare.drift_detected:
            expected.append(position)
    assert positions(drift.binary.DDM(), values) == expected != []


def test_figures_are_the_public_numbers_without_parameters() -> None:
    detectors = ColumnDetectors.start("x", make_templates([drift.ADWIN(), drift.KSWIN(seed=1), drift.PageHinkley()]))
    detectors.update(np.ones(10))
    adwin, kswin, page_hinkley = (running.figures() for running in detectors.running)
    assert adwin == {"estimation": 1.0, "n_detections": 0.0, "total": 10.0, "variance": 0.0, "width": 10.0}
    assert set(kswin) == {"n", "p_value"}
    assert page_hinkley == {}


def test_what_is_not_a_detector_is_refused() -> None:
    with pytest.raises(TypeError, match="type is not a drift detector"):
        make_templates([drift.ADWIN])  # pyright: ignore[reportArgumentType] - the mistake under test


@pytest.mark.parametrize("sampling", [{"ADWIN": 0}, {"KSWIN": 5}])
def test_a_sampling_that_cannot_be_is_refused(sampling: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sample_every"):
        make_templates([drift.ADWIN()], sampling)
