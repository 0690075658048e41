from collections.abc import Sequence

from sklearn.base import BaseEstimator, ClassifierMixin

class Pipeline(ClassifierMixin, BaseEstimator):
    def __init__(self, steps: Sequence[tuple[str, object]]) -> None: ...
