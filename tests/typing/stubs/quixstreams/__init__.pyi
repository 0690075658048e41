from collections.abc import Callable, Mapping
from typing import Any

class Topic: ...

class StreamingDataFrame:
    def apply(self, func: Callable[[dict[str, Any]], dict[str, Any]]) -> StreamingDataFrame: ...
    def to_topic(self, topic: Topic) -> StreamingDataFrame: ...

class Application:
    def __init__(
        self,
        *,
        broker_address: str,
        consumer_group: str,
        auto_offset_reset: str,
        processing_guarantee: str,
        commit_interval: float,
        consumer_extra_config: Mapping[str, object],
        producer_extra_config: Mapping[str, object],
        auto_create_topics: bool,
    ) -> None: ...
    def topic(
        self,
        name: str,
        *,
        value_deserializer: str = ...,
        key_deserializer: str = ...,
        value_serializer: str = ...,
        key_serializer: str = ...,
    ) -> Topic: ...
    def dataframe(self, topic: Topic) -> StreamingDataFrame: ...
    def run(self) -> None: ...
