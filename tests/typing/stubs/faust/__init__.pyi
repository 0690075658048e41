from collections.abc import AsyncIterator, Callable
from typing import TypeVar

_F = TypeVar("_F", bound=Callable[..., object])

class StreamT:
    def items(self) -> AsyncIterator[tuple[bytes, bytes]]: ...

class Topic:
    async def send(self, *, key: bytes, value: bytes) -> object: ...

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
    def topic(self, name: str, *, key_type: type, value_type: type, value_serializer: str) -> Topic: ...
    def agent(self, channel: Topic) -> Callable[[_F], _F]: ...
    def main(self) -> None: ...
