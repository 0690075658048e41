"""Every call that Kafka answers is a crash point of an app with a table on disk, windows and regrouped topics.

Every third call has its turn here; ``python -m tests.integration.state_crash_points`` takes all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from streamserve.kafka.calls import CALL_NAMES
from tests.integration.state_crash_points import PARTITIONS, survive, topology_of
from tests.integration.state_driving import StateDriver

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("call", CALL_NAMES[::3])
def test_a_worker_that_dies_before_and_after_a_call_leaves_its_state_whole(
    call: str, brokers: str, topic_name: str, tmp_path: Path
) -> None:
    driver = StateDriver(brokers, topic_name[-40:].lstrip("-."), topology_of(call), tmp_path, PARTITIONS)
    driver.create()
    try:
        wrong = survive(driver, call)
        assert not wrong, "\n".join([*wrong, driver.logs()])
    finally:
        driver.close()
