from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from streamserve.state.immutable import is_immutable

T = TypeVar("T")


class Color(Enum):
    RED = "red"


class FrozenStruct(msgspec.Struct, frozen=True):
    count: int
    next: FrozenStruct | None = None


class StructWithList(msgspec.Struct, frozen=True):
    items: list[int]


class OpenStruct(msgspec.Struct):
    count: int


class GenericStruct(msgspec.Struct, Generic[T], frozen=True):
    value: T


class Point(NamedTuple):
    x: float
    y: float


class FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True)

    at: datetime
    inner: Point


class ModelWithDict(BaseModel):
    model_config = ConfigDict(frozen=True)

    counts: dict[str, int]


class OpenModel(BaseModel):
    count: int


class ModelOfMore(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    count: int


class ModelWithPrivates(BaseModel):
    model_config = ConfigDict(frozen=True)

    count: int
    _seen: list[int] = PrivateAttr(default_factory=list)


@dataclass(frozen=True)
class FrozenData:
    pair: tuple[int, FrozenModel]


@dataclass(frozen=True)
class DataWithSet:
    seen: set[str]


@dataclass
class OpenData:
    count: int


class Path(NamedTuple):
    points: list[Point]


UserId = NewType("UserId", str)

FROZEN: list[Any] = [
    str, int, float, bool, bytes, None, type(None), datetime, timedelta, Decimal, UUID, Color, UserId, Literal["a"],
    str | None, Annotated[int, "meters"], tuple[int, ...], tuple[str, float], frozenset[str], tuple[()],
    FrozenStruct, FrozenModel, FrozenData, Point, tuple[FrozenData, ...],
]  # fmt: skip
OPEN: list[Any] = [
    dict, list, set, bytearray, dict[str, int], list[int], Any, tuple, T, tuple[list[int], ...],
    object, str | list[int],
    OpenStruct, OpenModel, OpenData, StructWithList, ModelWithDict, DataWithSet, Path,
    GenericStruct, GenericStruct[int], ModelOfMore, ModelWithPrivates,
]  # fmt: skip


@pytest.mark.parametrize("value_type", FROZEN, ids=str)
def test_values_that_cannot_change_are_handed_out_as_they_are(value_type: Any) -> None:
    assert is_immutable(value_type)


@pytest.mark.parametrize("value_type", OPEN, ids=str)
def test_values_that_can_change_or_might_are_watched(value_type: Any) -> None:
    assert not is_immutable(value_type)


def test_a_type_whose_annotations_do_not_resolve_is_watched() -> None:
    class Local: ...

    @dataclass(frozen=True)
    class Holder:
        local: Local

    assert not is_immutable(Holder)
