"""``streamserve send``: test events on a topic."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streamserve.cli.completion import complete_topics
from streamserve.cli.loading import load_plan
from streamserve.cli.options import AppName, AsJson, Brokers
from streamserve.errors import DecodeError, EncodeError, TopicError

if TYPE_CHECKING:
    from streamserve.dataflow.planning.nodes import TopicNode
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.records import Coordinates
    from streamserve.settings import Settings

TopicName = Annotated[
    str,
    typer.Argument(
        metavar="TOPIC", help="One of the app's topics.", show_default=False, autocompletion=complete_topics
    ),
]
Event = Annotated[
    str, typer.Argument(metavar="EVENT", help="The event as JSON, or - for one in each line of standard input.")
]
Key = Annotated[
    str | None, typer.Option(help="The record's key (default: the topic's own, from the event).", show_default=False)
]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("send")(send)


def send(
    name: AppName,
    topic: TopicName,
    event: Event = "-",
    key: Key = None,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """Write test events to a topic, under the topic's own key and partitioner, and show where they went.

    Every event is held against the topic's type first; if one does not fit, none is written.

    Example: streamserve send shop:app clicks '{"user": "u1", "page": "/"}'
    """
    from streamserve.cli.console import print_json
    from streamserve.kafka.sending import send_records

    plan, settings = load_plan(name, brokers)
    records = _records(_topic(plan, topic), _payloads(event), key)
    _check_exists(settings, topic)
    for (record_key, _), place in zip(records, send_records(settings, topic, records), strict=True):
        if as_json:
            print_json({**place._asdict(), "key": None if record_key is None else record_key.decode(errors="replace")})
        else:
            typer.echo(_told(place, record_key))


def _topic(plan: Plan, name: str) -> TopicNode:
    if name not in plan.topics:
        there_is = ", ".join(plan.topics) or "none"
        raise typer.BadParameter(f"the app declares no topic {name!r}; there is {there_is}", param_hint="TOPIC")
    return plan.topics[name]


def _payloads(event: str) -> list[bytes]:
    """Return the event given, or the lines of standard input that are not empty."""
    if event != "-":
        return [event.encode()]
    return [line for line in map(bytes.strip, sys.stdin.buffer) if line]


def _records(node: TopicNode, payloads: list[bytes], key: str | None) -> list[tuple[bytes | None, bytes]]:
    """Return keys and values, as they were given.

    Raises:
        DecodeError: an event does not fit the topic's type, or no key can be taken from it.
    """
    from streamserve.codecs.keys import KeyCodec
    from streamserve.dataflow.runtime import codec_of

    keys: KeyCodec[object] = KeyCodec(node.key)
    records: list[tuple[bytes | None, bytes]] = []
    for number, value in enumerate(codec_of(node).decode_many(payloads), start=1):
        where = f"event {number} of {len(payloads)} for topic {node.name!r}"
        if isinstance(value, DecodeError):
            raise DecodeError(f"{where}: {value}. Nothing was sent: correct it and send again.")
        try:
            own = keys.encode_key(value) if key is None else key.encode()
        except EncodeError as error:
            raise DecodeError(f"{where}: {error} Nothing was sent: --key gives one by hand.") from error
        records.append((own, payloads[number - 1]))
    return records


def _check_exists(settings: Settings, topic: str) -> None:
    """Raise unless the topic exists: a broker may create it at the first record, with settings that nobody chose."""
    from streamserve.kafka.admin import Admin

    if topic not in Admin(settings).partitions():
        remedy = "'streamserve topics create MODULE:APP' creates it"
        raise TopicError(f"topic {topic!r} does not exist on {settings.bootstrap_servers}: {remedy}")


def _told(place: Coordinates, key: bytes | None) -> str:
    return f"{place}" + ("" if key is None else f" key {key.decode(errors='replace')}")
