from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

class LogisticRegression(ClassifierMixin, BaseEstimator):
    def __init__(self, *, max_iter: int = 100) -> None: ...

class LinearRegression(RegressorMixin, BaseEstimator):
    def __init__(self) -> None: ...
