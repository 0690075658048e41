"""``python -m tests.benchmarks.scaling``: what the constants of ``streamserve size`` are, and how far it is right."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Annotated

import msgspec
import typer

from streamserve.broker.server import LocalBroker
from tests.benchmarks.scaling import worker as measured
from tests.benchmarks.scaling.compare import fit, predicted
from tests.benchmarks.scaling.features import measure_features
from tests.benchmarks.scaling.runs import Found, measure

Brokers = Annotated[str | None, typer.Option(help="Kafka to measure on (default: a local broker for this run).")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each is measured; the least disturbed counts.")]
Numbers = Annotated[str, typer.Option(metavar="N,N", help="What is varied, one after the other.")]
Records = Annotated[int, typer.Option(min=20_000, help="Records of a run where they are not varied.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_PARTITIONS = 8
_KEYS = 10_000
_LONG_MS = 200
_SHORT_MS = 20


@app.command()
def records(
    brokers: Brokers = None,
    rounds: Rounds = 1,
    workers: Numbers = "1,2,4",
    amounts: Numbers = "100000,400000",
    keys: Numbers = "100,100000",
    run_records: Records = 200_000,
) -> None:
    """CPU per record: by workers and by records of ``app.score``, by keys of an agent with a table."""
    with _broker(brokers) as address:
        for count in _numbers(workers):
            _tell(_best(address, rounds, level="score", records=run_records, workers=count))
        for amount in _numbers(amounts):
            _tell(_best(address, rounds, level="score", records=amount))
        for count in _numbers(keys):
            _tell(_best(address, rounds, level="table", records=max(run_records, 2 * count), keys=count))


@app.command()
def commits(
    brokers: Brokers = None, rounds: Rounds = 1, partitions: Numbers = "2,16,64,256", run_records: Records = 200_000
) -> None:
    """What a commit takes by partitions, at a long and a short interval; the constants that follow from it."""
    found: list[Found] = []
    with _broker(brokers) as address:
        for count in _numbers(partitions):
            for interval_ms in (_LONG_MS, _SHORT_MS):
                found.append(
                    _best(
                        address,
                        rounds,
                        level="score",
                        records=run_records,
                        partitions=count,
                        commit_interval_ms=interval_ms,
                    )
                )
                _tell(found[-1])
    typer.echo(msgspec.json.encode(fit(found)))


@app.command()
def features(rounds: Rounds = 3) -> None:
    """What a feature row takes that is in the cache, and one that Feast's SQLite store is asked for."""
    typer.echo(msgspec.json.encode(measure_features(rounds)))


@app.command()
def memory(brokers: Brokers = None, amounts: Numbers = "100000,1000000") -> None:
    """Memory of a worker after so many records: ``--amounts 1000000,10000000`` for the long run."""
    with _broker(brokers) as address:
        for amount in _numbers(amounts):
            _tell(_best(address, 1, level="score", records=amount))


@app.command(hidden=True)
def worker(job: Annotated[str, typer.Argument()], number: Annotated[int, typer.Argument()]) -> None:
    """Run one worker of a run; the commands above start it."""
    typer.echo(msgspec.json.encode(measured.run(msgspec.json.decode(job, type=measured.Job), number)))


def _best(
    brokers: str,
    rounds: int,
    *,
    level: str,
    records: int,
    keys: int = _KEYS,
    partitions: int = _PARTITIONS,
    workers: int = 1,
    commit_interval_ms: int = 100,
) -> Found:
    """Return the round of least processor time, with the shortest of the rounds' commits: noise only ever adds."""
    found = [
        measure(
            brokers,
            level=level,
            records=records,
            keys=keys,
            partitions=partitions,
            workers=workers,
            commit_interval_ms=commit_interval_ms,
        )
        for _ in range(rounds)
    ]
    least = min(found, key=lambda each: each.cpu_us)
    return msgspec.structs.replace(least, commit_ms=min(each.commit_ms for each in found))


def _tell(found: Found) -> None:
    """Print what was measured, with what the model says beside it."""
    line = {
        "level": found.job.level,
        "workers": found.job.workers,
        "records": found.job.records,
        "keys": found.job.keys,
        "partitions": found.job.partitions,
        "interval_ms": found.job.commit_interval_ms,
        "cpu_us": round(found.cpu_us, 2),
        "commit_ms": round(found.commit_ms, 1),
        "commits": found.commits,
        "rss_mib": found.rss_mib,
        "peak_mib": found.peak_mib,
        "requests": {kind: round(count, 1) for kind, count in found.requests.items()},
        "model": predicted(found),
    }
    typer.echo(msgspec.json.encode(line))


def _numbers(text: str) -> Sequence[int]:
    return [int(part) for part in text.split(",")]


@contextmanager
def _broker(brokers: str | None) -> Generator[str]:
    if brokers is not None:
        yield brokers
        return
    with LocalBroker() as broker:
        yield broker.address


if __name__ == "__main__":
    app()
