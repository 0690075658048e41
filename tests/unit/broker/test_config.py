"""The broker is told to stay on this machine and to be alone."""

from __future__ import annotations

from pathlib import Path

from streamserve.broker.config import Layout, java_arguments, server_properties, write_settings


def properties(port: int = 9092, controller_port: int = 9093) -> dict[str, str]:
    lines = server_properties(Path("/data/topics"), port=port, controller_port=controller_port).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_every_address_is_on_loopback() -> None:
    settings = properties(port=1, controller_port=2)
    assert settings["listeners"] == "BROKER://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert settings["advertised.listeners"] == "BROKER://127.0.0.1:1"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:2"


def test_one_node_is_enough_for_every_internal_topic() -> None:
    replication = {key: value for key, value in properties().items() if key.endswith(("replication.factor", "min.isr"))}
    assert len(replication) == 5
    assert set(replication.values()) == {"1"}


def test_a_stop_leaves_partitions_their_leader() -> None:
    """In the moment without one, Kafka 4.3 drops the markers of transactions that are being committed."""
    assert properties()["controlled.shutdown.enable"] == "false"


def test_records_of_years_ago_stay() -> None:
    """Retention goes by the records' own time: Kafka's week deletes a replay of 2013 half a minute after the start."""
    assert properties()["log.retention.ms"] == "-1"


def test_a_test_may_set_anything_but_addresses_and_folders() -> None:
    given = {"transaction.max.timeout.ms": "5000", "controlled.shutdown.enable": "true", "log.dirs": "/elsewhere"}
    text = server_properties(Path("/data/topics"), port=1, controller_port=2, settings=given)
    assert {"transaction.max.timeout.ms=5000", "controlled.shutdown.enable=true", "log.dirs=/data/topics"} <= set(
        text.splitlines()
    )


def test_a_test_may_make_it_one_node_of_a_cluster() -> None:
    voters = "1@127.0.0.1:2,2@127.0.0.1:4"
    given = {"node.id": "2", "controller.quorum.voters": voters}
    text = server_properties(Path("/data/topics"), port=3, controller_port=4, settings=given)
    assert {"node.id=2", f"controller.quorum.voters={voters}"} <= set(text.splitlines())


def test_topics_are_never_made_by_mistake() -> None:
    assert properties()["auto.create.topics.enable"] == "false"


def test_settings_are_written_where_java_is_told_to_look(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a folder")
    write_settings(layout, [Path("/jars/x.jar")], port=1, controller_port=2)
    arguments = java_arguments(layout)
    assert layout.marker in arguments
    assert f"@{layout.class_path}" in arguments
    assert layout.class_path.read_text() == '-cp "/jars/x.jar"\n'
    assert f"log.dirs={layout.topics}" in layout.settings.read_text()
