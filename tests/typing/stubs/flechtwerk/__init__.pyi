from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from flechtwerk.attribute import Attribute

_V = TypeVar("_V")

class Event:
    def __getitem__(self, attribute: Attribute[_V], /) -> _V: ...

class IncomingMessage:
    key: str
    value: Event | None

class Message:
    def __init__(self, *, key: str, topic: str, value: bytes) -> None: ...

class State: ...
class Transformer: ...

def transformer(
    *, input_topics: Sequence[str]
) -> Callable[[Callable[[IncomingMessage, State], AsyncIterator[Message]]], Transformer]: ...

class Flechtwerk:
    @classmethod
    def of(
        cls,
        *,
        application_id: str,
        bootstrap_servers: str,
        client_id: str,
        stage: Transformer,
    ) -> Flechtwerk: ...
    def run(self) -> Coroutine[Any, Any, None]: ...
