"""What the local broker is told: Kafka's settings, Java's arguments, and its log.

Kafka listens on loopback alone. Replication is 1 everywhere, internal topics are small so that a start is quick, and
bounds are low where they would slow a test: rebalances start at once, sessions may be short, and a transaction past
its timeout is ended within a second. Records stay until their topic is deleted, however old their time. All else is
Kafka's default, so that what runs here runs the same elsewhere: a topic takes messages of 1 MiB unless it was created
with a larger ``max.message.bytes``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

HOST = "127.0.0.1"
MAX_HEAP_MB = 1024

JVM_OPTIONS = (
    "-Xms256m",
    f"-Xmx{MAX_HEAP_MB}m",
    "-XX:+UseG1GC",  # the collector and pause goal of Kafka's own start script
    "-XX:MaxGCPauseMillis=20",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)

SETTINGS: Mapping[str, str] = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
    # With nobody to lead on, a controlled shutdown leaves partitions without a leader for a moment, in which Kafka 4.1
    # to 4.3 drops the markers of transactions that are being committed: they hold readers back for ever (KAFKA-20734).
    "controlled.shutdown.enable": "false",
    "broker.session.timeout.ms": "3000",  # the next start waits until the old process's session has ended
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "250",
    # Retention goes by the records' own time: Kafka's default of a week would delete a replay of old events, read or
    # not, half a minute after the broker's start.
    "log.retention.ms": "-1",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}

NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
"""What a broker is told beside ``SETTINGS`` unless a test wants it otherwise."""

_LOG4J = """\
status = warn
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = OUT
logger.kafka.name = kafka
logger.kafka.level = info
logger.apache.name = org.apache.kafka
logger.apache.level = info
logger.settings.name = kafka.server.KafkaConfig
logger.settings.level = warn
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one broker, all under its data folder (absolute)."""

    data_dir: Path

    @property
    def topics(self) -> Path:
        """Kafka's own folder: the records and its metadata."""
        return self.data_dir / "topics"

    @property
    def settings(self) -> Path:
        """Kafka's settings, written anew at each start."""
        return self.data_dir / "server.properties"

    @property
    def log(self) -> Path:
        """Everything the broker prints since its last start; the log before lies beside it with ``.1``."""
        return self.data_dir / "broker.log"

    @property
    def log_settings(self) -> Path:
        """What is logged: Kafka at level info, the rest at warn."""
        return self.data_dir / "log4j2.properties"

    @property
    def class_path(self) -> Path:
        """The class path as an argument file, since ninety jars are long for a command line."""
        return self.data_dir / "class-path"

    @property
    def record(self) -> Path:
        """What is known of the process that was started last."""
        return self.data_dir / "broker.json"

    @property
    def lock(self) -> Path:
        """Held while a broker starts or stops."""
        return self.data_dir / ".lock"

    @property
    def marker(self) -> str:
        """The argument by which a process is known as the broker of this data folder."""
        return f"-Dstreamserve.broker={self.data_dir}"


def write_settings(
    layout: Layout,
    class_path: Iterable[Path],
    *,
    port: int,
    controller_port: int,
    settings: Mapping[str, str] = NO_SETTINGS,
) -> None:
    """Write all that the broker reads at its start; ``settings`` are Kafka's, before ours."""
    layout.data_dir.mkdir(parents=True, exist_ok=True)
    layout.settings.write_text(
        server_properties(layout.topics, port=port, controller_port=controller_port, settings=settings)
    )
    layout.log_settings.write_text(_LOG4J)
    layout.class_path.write_text(class_path_argument(class_path))


def server_properties(
    topics: Path, *, port: int, controller_port: int, settings: Mapping[str, str] = NO_SETTINGS
) -> str:
    """Return Kafka's settings for one node that is broker and controller; its addresses and folders are always ours.

    It is alone unless ``settings`` give it another ``node.id`` and name the ``controller.quorum.voters``.
    """
    merged = {
        **SETTINGS,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        **settings,
        "log.dirs": str(topics),
        "listeners": f"BROKER://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"BROKER://{HOST}:{port}",
    }
    return "".join(f"{key}={value}\n" for key, value in merged.items())


def class_path_argument(jars: Iterable[Path]) -> str:
    r"""Return an argument file for Java; inside its quotes a backslash stands before a backslash or a quote.

    >>> class_path_argument([Path("/a b/x.jar"), Path("/y.jar")])
    '-cp "/a b/x.jar:/y.jar"\n'
    """
    joined = ":".join(str(jar) for jar in jars).replace("\\", "\\\\").replace('"', '\\"')
    return f'-cp "{joined}"\n'


def java_arguments(layout: Layout, options: Iterable[str] = JVM_OPTIONS) -> list[str]:
    """Return Java's arguments up to the main class, for the broker and for its tools."""
    return [
        layout.marker,
        *options,
        f"-XX:ErrorFile={layout.data_dir}/java-crash-%p.log",
        f"-Dlog4j2.configurationFile={layout.log_settings}",
        f"@{layout.class_path}",
    ]
