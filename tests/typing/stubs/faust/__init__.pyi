from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar, dataclass_transform

_V = TypeVar("_V")
_F = TypeVar("_F", bound=Callable[..., object])

@dataclass_transform(kw_only_default=True)
class Record:
    def __init_subclass__(cls, *, serializer: str = ..., include_metadata: bool = ...) -> None: ...

class StreamT(Generic[_V]):
    def items(self) -> AsyncIterator[tuple[bytes, _V]]: ...

class Topic:
    async def send(self, *, key: bytes, value: bytes | Record) -> object: ...

class App:
    def __init__(
        self,
        app_id: str,
        /,
        *,
        broker: str,
        processing_guarantee: str,
        consumer_auto_offset_reset: str,
        broker_session_timeout: float,
        broker_heartbeat_interval: float,
        broker_commit_interval: float,
        topic_partitions: int,
        topic_replication_factor: int,
        web_enabled: bool,
    ) -> None: ...
    def topic(self, name: str, *, key_type: type, value_type: type[Any], value_serializer: str = ...) -> Topic: ...
    def agent(self, channel: Topic) -> Callable[[_F], _F]: ...
    def main(self) -> None: ...
