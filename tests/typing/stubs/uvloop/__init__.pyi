from collections.abc import Coroutine
from typing import Any

def run(main: Coroutine[Any, Any, None]) -> None: ...
