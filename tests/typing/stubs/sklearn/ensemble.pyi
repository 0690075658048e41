from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

class GradientBoostingClassifier(ClassifierMixin, BaseEstimator):
    def __init__(self, *, n_estimators: int = 100, random_state: int | None = None) -> None: ...

class HistGradientBoostingClassifier(ClassifierMixin, BaseEstimator):
    def __init__(
        self,
        *,
        max_iter: int = 100,
        max_leaf_nodes: int | None = 31,
        early_stopping: bool | str = "auto",
        random_state: int | None = None,
    ) -> None: ...

class RandomForestClassifier(ClassifierMixin, BaseEstimator):
    def __init__(self, n_estimators: int = 100, *, random_state: int | None = None) -> None: ...

class HistGradientBoostingRegressor(RegressorMixin, BaseEstimator):
    def __init__(self, *, max_iter: int = 100) -> None: ...
