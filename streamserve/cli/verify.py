"""``streamserve verify``: kills, failing commits, and a count of what became of every input."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from streamserve.cli.completion import complete_apps
from streamserve.cli.options import AsJson

if TYPE_CHECKING:
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.settings import Settings
    from streamserve.testing.verify.own import Kafka, OwnApp
    from streamserve.testing.verify.running import Options, VerifyReport
    from streamserve.testing.verify.storm import Progress

__all__ = ["register"]

_PARTITIONS = 4

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="MODULE:APP",
        help="Your app (default: a built-in one that uses every feature).",
        show_default=False,
        autocompletion=complete_apps,
    ),
]
Events = Annotated[int, typer.Option(min=1_000, help="Inputs; of your app at most so many of each input topic.")]
Kills = Annotated[int, typer.Option(min=0, help="SIGKILL a worker so many times while inputs come.")]
Seed = Annotated[int, typer.Option(help="Inputs, victims and failing calls follow from it.")]
Rescalings = Annotated[
    int, typer.Option(min=0, help="Change the number of workers so many times: to fewer, and back to all.")
]
Aborts = Annotated[int, typer.Option(min=0, help="Let at least about so many calls fail that abort a transaction.")]
Unknown = Annotated[int, typer.Option(min=0, help="Let at least about so many commits stay without an answer.")]
Logs = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep the workers' logs in this empty folder, and a note of each call that failed.",
        show_default=False,
    ),
]
WorkerCount = Annotated[int, typer.Option("--workers", min=1, max=16, help="Worker processes.")]
Brokers = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,...",
        help="Run the built-in app on this Kafka in place of a temporary one, its topics stay there; or read your app's"
        " inputs from it (default: where the app's settings say).",
        show_default=False,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD",
        help="A field of your app's outputs that may differ from run to run, such as a time of day; may be repeated.",
        show_default=False,
    ),
]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("verify")(verify)


def verify(
    name: Name = None,
    events: Events = 20_000,
    kills: Kills = 10,
    seed: Seed = 1,
    workers: WorkerCount = 2,
    rescalings: Rescalings = 0,
    aborts: Aborts = 0,
    unknown: Unknown = 0,
    brokers: Brokers = None,
    ignore: Ignore = None,
    logs: Logs = None,
    as_json: AsJson = False,
) -> None:
    """Kill workers with SIGKILL, let their commits fail, and count what was lost, came twice, or does not agree.

    Runs real workers on a real Kafka. Each start has a call that fails in a commit, and a commit whose answer is lost,
    or more of them; half also kill themselves inside a commit. Afterwards, and meanwhile, a reader that shares no code
    with the engine judges every outcome, table, window, label and statistic. The exit code is 1 on any anomaly.

    Your own app is run twice on copies of the records in its input topics, on temporary brokers: undisturbed, and in
    the storm. What verify cannot know is what your app means: it holds the storm's outputs, dead letters and tables
    against the undisturbed ones. So your app must come to the same result from the same inputs: no clock, no chance, no
    merging of topics whose order is open. Windows and labels are compared by what they write; drift and performance are
    not. Side effects outside Kafka, such as a Feast push, happen in both runs.

    Example: streamserve verify --events 20000 --kills 10 --json

    The long version: streamserve verify --events 2000000 --kills 300 --workers 3 --aborts 200 --unknown 50
    """
    from streamserve.cli.console import print_json
    from streamserve.testing.verify.running import Options

    if rescalings and workers == 1:
        raise typer.BadParameter("a single worker cannot become fewer: give --workers too", param_hint="--rescalings")
    size = {"events": events, "kills": kills, "workers": workers, "rescalings": rescalings}
    options = Options(**size, seed=seed, aborts=aborts, unknown=unknown)
    with _folder(logs) as folder:
        if name is None:
            if ignore:
                raise typer.BadParameter("the built-in app has no such fields: name your own", param_hint="--ignore")
            report = _built_in(options, brokers, folder)
        else:
            report = _own(name, options, brokers, frozenset(ignore or ()), folder)
    if as_json:
        print_json(report.as_dict())
    else:
        _print(report)
    if report.findings.anomalies:
        raise typer.Exit(1)


@contextmanager
def _folder(logs: Path | None) -> Generator[Path]:
    """Give the folder for logs: the one that is named, made where it is missing, or one that ends with the block."""
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        if any(logs.iterdir()):
            raise typer.BadParameter(f"{logs} is not empty, and what is in it would be counted", param_hint="--logs")
        yield logs
        return
    with TemporaryDirectory(prefix="streamserve-verify-logs-") as folder:
        yield Path(folder)


def _built_in(options: Options, brokers: str | None, logs: Path) -> VerifyReport:
    """Run the built-in app on ``brokers``, or on a broker of its own."""
    from streamserve.cli.topics import create_missing
    from streamserve.ops.supervisor import PARENT_FD
    from streamserve.settings import load_settings
    from streamserve.testing.verify.app import APP_VARIABLE, MODULE, build_app, publish_model
    from streamserve.testing.verify.names import Names
    from streamserve.testing.verify.running import environment, verify_built_in
    from streamserve.testing.verify.workers import Launch

    app = build_app(f"verify-{uuid4().hex[:8]}")
    with TemporaryDirectory(prefix="streamserve-verify-") as folder, _kafka(brokers) as address:
        publish_model(Path(folder) / "models")
        create_missing(app.plan(), load_settings(app.settings, {"bootstrap_servers": address}), _PARTITIONS)
        settings = {"model_registry": str(Path(folder) / "models"), "state_dir": str(Path(folder) / "state")}
        more = {APP_VARIABLE: app.name, **{f"STREAMSERVE_{key.upper()}": value for key, value in settings.items()}}
        command = [sys.executable, "-m", "streamserve", "run", MODULE, "--json-logs"]
        launch = Launch(command, environment(address, **more), PARENT_FD)
        with _progress(options) as progress:
            return verify_built_in(address, Names(app.name), launch, options, logs, progress)


def _own(name: str, options: Options, brokers: str | None, ignored: frozenset[str], logs: Path) -> VerifyReport:
    """Run the user's app on copies of its inputs, on brokers of its own."""
    from streamserve.cli.loading import load_app, load_settings_of
    from streamserve.testing.verify.own import read_inputs, verify_own

    app = load_app(name)
    plan, settings = app.plan(), load_settings_of(app, bootstrap_servers=brokers)
    security = {key: value.get_secret_value() for key, value in settings.kafka.items()}
    inputs = _inputs_of(plan)
    with TemporaryDirectory(prefix="streamserve-verify-") as folder:
        records = read_inputs(settings.bootstrap_servers, inputs, options.events, security)
        own = _to_run(name, plan, Path(folder), _emptied(plan, settings), ignored)
        with _progress(replace(options, events=len(records))) as progress:
            return verify_own(own, records, options, logs, progress)


def _to_run(name: str, plan: Plan, folder: Path, kafka: Kafka, ignored: frozenset[str]) -> OwnApp:
    """Return how ``name`` is started and what of it is compared."""
    from streamserve.dataflow.planning.topics import written_topics
    from streamserve.ops.supervisor import PARENT_FD
    from streamserve.testing.verify.comparing import Comparison
    from streamserve.testing.verify.own import OwnApp
    from streamserve.testing.verify.running import environment
    from streamserve.testing.verify.workers import Launch

    def launch(address: str) -> Launch:
        tables = str(folder / address.replace(":", "-"))
        more = {"STREAMSERVE_KAFKA": "{}", "STREAMSERVE_HTTP_PORT": "0", "STREAMSERVE_STATE_DIR": tables}
        command = [sys.executable, "-m", "streamserve", "run", name, "--json-logs"]
        return Launch(command, environment(address, **more), PARENT_FD)

    regrouped = {topic for topic, node in plan.topics.items() if node.upstream is not None}
    compared = Comparison(
        outputs=sorted(written_topics(plan) - regrouped),
        dead_letters=plan.dead_letter_topic,
        changelogs=[plan.changelog_of(table) for table in plan.tables],
        ordered=all(len(part.topics) == 1 for part in plan.parts),
        ignored=ignored,
    )
    return OwnApp(name=plan.app, inputs=_inputs_of(plan), launch=launch, kafka=kafka, compared=compared)


def _inputs_of(plan: Plan) -> list[str]:
    """Return the topics that the app reads and does not write."""
    from streamserve.dataflow.planning.topics import written_topics

    own = written_topics(plan) | {topic for topic, node in plan.topics.items() if node.upstream is not None}
    return sorted({topic for part in plan.parts for topic in part.topics} - own)


def _emptied(plan: Plan, settings: Settings) -> Kafka:
    """Return what gives a broker with the app's topics, all empty, with as many partitions as they have now."""
    from streamserve.broker.server import LocalBroker
    from streamserve.dataflow.planning.topics import topic_specs
    from streamserve.kafka.admin import Admin

    found = Admin(settings).partitions()
    specs = topic_specs(plan, found, partitions=_PARTITIONS)
    exact = [replace(spec, partitions=found.get(spec.name, spec.partitions)) for spec in specs]

    @contextmanager
    def kafka() -> Generator[str]:
        with LocalBroker() as broker:
            local = settings.model_copy(update={"bootstrap_servers": broker.address, "kafka": {}})
            Admin(local).create(exact, partitions=_PARTITIONS)
            yield broker.address

    return kafka


@contextmanager
def _kafka(brokers: str | None) -> Generator[str]:
    """Give the address of a broker: the one that is named, or one that ends with the block."""
    if brokers is not None:
        yield brokers
        return
    from streamserve.broker.server import LocalBroker

    with LocalBroker() as broker:
        yield broker.address


@contextmanager
def _progress(options: Options) -> Generator[Progress]:
    """Show a bar on standard error; give what moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting workers", total=options.events)

        def told(done: int, kills: int) -> None:
            bar.update(task, completed=done, description=f"{kills} kills, events committed")

        yield told


def _print(report: VerifyReport) -> None:
    """Show the counts, and examples of what is wrong."""
    from streamserve.cli.console import note, print_table

    facts = report.as_dict()
    names = ("events", "outcomes", "dead_letters", "kills", "rescalings", "aborts", "unknown")
    told = [(name, facts[name]) for name in (*names, *report.forced.as_dict())]
    print_table(("of the run", "count"), told)
    print_table(("anomaly", "count"), list(report.findings.counts.items()))
    for kind, texts in report.findings.examples.items():
        for text in texts:
            note(f"{kind}: {text}")
