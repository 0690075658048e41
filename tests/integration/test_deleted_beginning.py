"""Partitions whose first records the broker has deleted, as it does by retention, and with what was regrouped."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamserve.testing.checks import committed_offsets, read_topic
from tests.integration.conftest import Drive
from tests.integration.driving import events, uid_of

pytestmark = pytest.mark.broker


def test_a_worker_goes_on_where_it_was_though_what_came_before_is_deleted(drive: Drive, admin: AdminClient) -> None:
    """However long the client takes between being given its partitions and being told where to read."""
    driver = drive("echo")
    driver.produce(events(200))
    first = driver.start()
    driver.wait_for_inputs()
    assert first.stop() == 0
    done = committed_offsets(driver.brokers, driver.app, driver.inputs)
    client: Any = admin  # its futures are untyped
    for future in client.delete_records([TopicPartition(*place, offset) for place, offset in done.items()]).values():
        future.result(timeout=60)
    driver.produce(events(200, first=200))
    driver.start(fault="consumer.assign:after:1:pause:1")
    driver.wait_for_inputs()
    assert sorted(uid_of(record.value or b"") for record in read_topic(driver.brokers, driver.output)) == [*range(400)]
