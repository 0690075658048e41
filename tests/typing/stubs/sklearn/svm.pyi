from sklearn.base import BaseEstimator

class LinearSVC(BaseEstimator):
    def __init__(self) -> None: ...
