from typing import Any, Self

from numpy.typing import NDArray

class BaseEstimator:
    def fit(self, rows: Any, target: Any = None, /) -> Self: ...

class ClassifierMixin:
    def predict_proba(self, rows: Any, /) -> NDArray[Any]: ...

class RegressorMixin:
    def predict(self, rows: Any, /) -> NDArray[Any]: ...
