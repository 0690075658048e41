"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from streamserve.cli.completion import complete_apps

AppName = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:APP",
        help="The app: a module, importable from here, and the app's name in it.",
        show_default=False,
        autocompletion=complete_apps,
    ),
]
Brokers = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,...",
        help="Kafka's address (default: STREAMSERVE_BOOTSTRAP_SERVERS, then the app's own).",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Partitions = Annotated[
    int, typer.Option(min=1, max=10_000, help="Partitions of topics that are created and whose number is open.")
]
DEFAULT_PARTITIONS = 4
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this, only what would be done is shown.")]
KafkaKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A librdkafka setting for every client; may be repeated. Secrets belong in STREAMSERVE_KAFKA, a JSON"
        " object, since others see a command line.",
        show_default=False,
    ),
]
