from __future__ import annotations

import pytest

from streamserve.errors import ConfigurationError
from streamserve.kafka.quarantine import Quarantine
from streamserve.records import Coordinates, Origin

CULPRIT = Origin("echo", Coordinates("in", 0, 7))
AT = ("in", 0)


def test_care_lasts_until_all_suspects_are_committed() -> None:
    quarantine = Quarantine(careful=True)
    quarantine.suspect({AT: 10, ("in", 1): 5})
    quarantine.refuse(CULPRIT, "too large")
    assert not quarantine.settle({AT: 9, ("in", 1): 5})
    assert quarantine.careful
    assert quarantine.settle({AT: 10, ("in", 1): 5})
    assert not quarantine.sends_alone


def test_suspects_of_partitions_that_went_elsewhere_are_not_waited_for() -> None:
    quarantine = Quarantine(careful=True)
    quarantine.suspect({AT: 10})
    assert quarantine.settle({("in", 1): 1})
    assert not quarantine.sends_alone


def test_batches_that_were_refused_without_any_message_being_so_are_given_up() -> None:
    quarantine = Quarantine(careful=True)
    quarantine.suspect({AT: 10})
    assert not quarantine.settle({AT: 10})
    assert (quarantine.careful, quarantine.sends_alone) == (False, True)


def test_what_is_committed_is_forgotten() -> None:
    quarantine = Quarantine()
    quarantine.refuse(CULPRIT, "too large")
    quarantine.settle({AT: 7})
    assert CULPRIT in quarantine.refused
    quarantine.settle({AT: 8})
    assert quarantine.refused == {}


def test_a_dead_letter_that_is_refused_as_well_ends_the_worker() -> None:
    quarantine = Quarantine()
    quarantine.refuse(CULPRIT, "too large")
    with pytest.raises(ConfigurationError, match="its dead letter is refused as well"):
        quarantine.refuse(CULPRIT, "too large")
