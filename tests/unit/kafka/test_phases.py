from __future__ import annotations

from itertools import product

import pytest

from streamserve.kafka.phases import LEGAL, Phase, Phases


@pytest.mark.parametrize(("before", "after"), [*product(Phase, Phase)])
def test_only_the_drawn_transitions_are_possible(before: Phase, after: Phase) -> None:
    phases = Phases(before)
    if after in LEGAL[before]:
        phases.enter(after)
        assert phases.now is after
    else:
        with pytest.raises(AssertionError, match=f"from {before.value} to {after.value}"):
            phases.enter(after)
