# What topologies.flights and the tests call of pandas, which has no types of its own.

from collections.abc import Mapping
from pathlib import Path
from typing import Any

class DataFrame:
    def __init__(self, data: Mapping[str, Any]) -> None: ...
    def to_parquet(self, path: str | Path) -> None: ...
