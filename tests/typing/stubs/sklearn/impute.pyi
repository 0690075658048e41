from typing import Literal

class SimpleImputer:
    def __init__(self, *, strategy: Literal["mean", "median", "most_frequent", "constant"]) -> None: ...
