"""``streamserve size``: how many workers a load takes, what brokers see of it, what it costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streamserve.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamserve.ops.sizing import Deployment, Sizing

_SWEEP = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1_000)
_MANY = 100

Load = Annotated[float, typer.Option("--records", metavar="PER_SECOND", help="Records a second, in all.", min=0.001)]
Shards = Annotated[int, typer.Option("--partitions", min=1, max=100_000, help="Partitions of the input topic.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=100_000, help="So many workers (default: as many as it takes).", show_default=False),
]
Bytes = Annotated[int, typer.Option("--record-bytes", min=1, help="Size of a record's value.")]
Level = Annotated[
    str, typer.Option(metavar="LEVEL", help="How the app is written: score (app.score) or agent (one event at a time).")
]
CpuUs = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        help="Microseconds of a worker's processor time for a record, as you measured it (default: what the level,"
        " features and state took on our machine, with a model of 100 trees).",
        show_default=False,
    ),
]
HitRate = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Share of feature rows in the workers' cache (default: no features).", show_default=False
    ),
]
Outputs = Annotated[
    int | None,
    typer.Option(min=1, help="Partitions of the output topics (default: as the input).", show_default=False),
]
CoPartitioned = Annotated[
    bool, typer.Option("--co-partitioned", help="Outputs have the input's key and number of partitions.")
]
Interval = Annotated[str, typer.Option("--commit-interval", help="As the setting, such as 100ms.")]
StateKeys = Annotated[int, typer.Option(min=0, help="Keys of tables and windows, in all.")]
StateBytes = Annotated[int, typer.Option(min=0, help="Size of a key with its value.")]
Replication = Annotated[int, typer.Option(min=1, help="Replicas of topics.")]
RoundTrip = Annotated[float, typer.Option(min=0, help="Milliseconds to the brokers and back, and between them.")]
Session = Annotated[str, typer.Option("--session-timeout", help="As the setting, such as 10s.")]
Busy = Annotated[float, typer.Option(min=0.01, max=0.99, help="Share of its capacity that a worker may be given.")]
Price = Annotated[float, typer.Option("--core-hour", min=0, help="Price of a core for an hour; a worker takes one.")]
Sweep = Annotated[bool, typer.Option("--sweep", help="Compare 1 to 1,000 workers.")]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("size")(plan_size)


def plan_size(
    records: Load,
    partitions: Shards,
    workers: Workers = None,
    record_bytes: Bytes = 125,
    level: Level = "score",
    cpu_us: CpuUs = None,
    hit_rate: HitRate = None,
    output_partitions: Outputs = None,
    co_partitioned: CoPartitioned = False,
    commit_interval: Interval = "100ms",
    state_keys: StateKeys = 0,
    state_bytes: StateBytes = 100,
    replication: Replication = 3,
    round_trip: RoundTrip = 0.5,
    session_timeout: Session = "10s",
    busy: Busy = 0.7,
    price: Price = 0.05,
    sweep: Sweep = False,
    as_json: AsJson = False,
) -> None:
    """Tell how many workers a load takes, how busy they are, what brokers see of it, and what it costs. Asks no broker.

    It is a model: its constants were measured on one machine, and compose/operations.md says what it was checked
    against. With your own --cpu-us and --round-trip it is about yours.

    Example: streamserve size --records 200000 --partitions 64 --hit-rate 0.9 --core-hour 0.04
    """
    from streamserve.durations import to_milliseconds
    from streamserve.errors import ConfigurationError
    from streamserve.ops.sizing import Deployment, size, workers_needed

    try:
        deployment = Deployment(
            records_per_second=records,
            partitions=partitions,
            record_bytes=record_bytes,
            level=level,
            cpu_us=cpu_us,
            hit_rate=hit_rate,
            output_partitions=output_partitions,
            co_partitioned=co_partitioned,
            commit_interval_ms=to_milliseconds(commit_interval),
            state_keys=state_keys,
            state_bytes=state_bytes,
            replication=replication,
            round_trip_ms=round_trip,
            session_timeout_s=to_milliseconds(session_timeout) / 1000,
            busy=busy,
            core_hour_price=price,
        )
        if sweep:
            _show_sweep([size(deployment, count) for count in _SWEEP if count <= partitions], as_json=as_json)
            return
        found = size(deployment, workers or workers_needed(deployment))
    except (ValueError, ConfigurationError) as error:
        raise typer.BadParameter(str(error)) from error
    _show(deployment, found, as_json=as_json)


def _show(deployment: Deployment, found: Sizing, *, as_json: bool) -> None:
    from streamserve.cli.console import note, print_json, print_table

    if as_json:
        print_json({"deployment": asdict(deployment), "sizing": asdict(found)})
    else:
        print_table(("figure", "value", "which"), _lines(found), title=f"{found.workers:,} workers")
    if not found.keeps_up:
        note(
            f"A worker is given {found.utilisation:.0%} of its capacity, more than {deployment.busy:.0%}: leave out"
            " --workers to see how many it takes."
        )


def _lines(found: Sizing) -> list[tuple[str, str, str]]:
    return [
        ("utilisation", f"{found.utilisation:.0%}", "of the worker with most partitions"),
        ("partitions of a worker", f"{found.partitions_each:,}", "of the input, at most"),
        (
            "records/s of a worker",
            _number(found.records_per_worker),
            f"of {_number(found.capacity_per_worker)} at most",
        ),
        ("processor time", f"{found.cores:.2f} cores", "for records, of all workers"),
        ("memory of a worker", f"{found.memory_mib:,.0f} MiB", "without Feast and models"),
        (
            "latency",
            f"{found.latency_ms:.1f} ms",
            f"{found.latency_floor_ms:.1f} alone, {found.longest_latency_ms:.1f} at most",
        ),
        ("a commit", f"{found.commit_ms:.1f} ms", "in which the worker stands still"),
        ("transactions/s", _number(found.transactions), "of all workers"),
        ("requests/s", _number(found.requests), "for transactions, from clients to brokers"),
        ("writes to logs/s", _number(found.appends), f"{_number(found.replica_appends)} with replicas"),
        ("offsets", f"{found.offsets_bytes / 1e6:.2f} MB/s", "into __consumer_offsets"),
        ("rebalance", f"{found.rebalance_s:.1f} s", f"{found.restore_s:.1f} of it to take over and restore"),
        ("a killed worker", f"{found.failover_s:.1f} s", "until others go on; back under its name sooner"),
        ("cost", f"{found.cost_per_million:.6f}", "for a million predictions, workers alone"),
    ]


def _show_sweep(rows: Sequence[Sizing], *, as_json: bool) -> None:
    from streamserve.cli.console import print_json, print_table

    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        ("workers", "used", "latency ms", "transactions/s", "requests/s", "writes/s", "rebalance s", "per million"),
        [
            (
                row.workers,
                f"{row.utilisation:.0%}" + ("" if row.keeps_up else " too much"),
                f"{row.latency_ms:.1f}" if row.utilisation < 1 else "grows",
                _number(row.transactions),
                _number(row.requests),
                _number(row.appends),
                f"{row.rebalance_s:.1f}",
                f"{row.cost_per_million:.6f}",
            )
            for row in rows
        ],
    )


def _number(value: float) -> str:
    """Return a rate as a person reads it.

    >>> _number(0.25), _number(17.2), _number(123_456.7)
    ('0.2', '17.2', '123,457')
    """
    return f"{value:,.0f}" if value >= _MANY else f"{value:.1f}"
