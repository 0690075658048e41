from typing import Literal

class OneHotEncoder:
    def __init__(self, *, handle_unknown: Literal["error", "ignore"]) -> None: ...

class StandardScaler:
    def __init__(self) -> None: ...

class OrdinalEncoder:
    def __init__(self, *, handle_unknown: Literal["error", "use_encoded_value"], unknown_value: int) -> None: ...
