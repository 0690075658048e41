from typing import Generic, TypeVar

_V = TypeVar("_V")

class Codec(Generic[_V]): ...

FLOAT: Codec[float]
INT: Codec[int]

class Attribute(Generic[_V]):
    def __init__(self, name: str, codec: Codec[_V]) -> None: ...
