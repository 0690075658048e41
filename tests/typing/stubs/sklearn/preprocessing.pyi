from typing import Literal

class OrdinalEncoder:
    def __init__(self, *, handle_unknown: Literal["error", "use_encoded_value"], unknown_value: int) -> None: ...
