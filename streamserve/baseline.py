"""What training data looked like: plain figures that travel in a model's manifest and that drift is judged against."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, model_validator

__all__ = ["Baseline", "CategoricalBaseline", "ColumnBaseline", "NumericBaseline"]

_FROZEN = ConfigDict(extra="forbid", frozen=True)


class NumericBaseline(BaseModel):
    """The training distribution of a numeric column; booleans count as 0 and 1.

    ``edges`` are *inner* edges, strictly increasing, and ``counts`` has one more entry: bin ``i`` holds
    ``edges[i-1] <= x < edges[i]``, the first and the last are open, so every finite value has a bin. Its index is
    ``bisect_right(edges, x)``, or ``numpy.searchsorted(edges, xs, side="right")`` for many.

    ``count`` values were there (the sum of ``counts``), ``nulls`` more were missing. ``variance`` is the sample
    variance (divisor ``count - 1``; 0 below two values). ``quantiles`` maps probabilities to values. ``mean``,
    ``minimum`` and ``maximum`` are ``None`` and ``quantiles`` is empty when ``count`` is 0.

    >>> NumericBaseline(edges=(0.0,), counts=(1, 3), count=4, nulls=0, mean=0.5, variance=1.0).probabilities
    (0.25, 0.75)
    """

    model_config = _FROZEN

    kind: Literal["numeric"] = "numeric"
    edges: tuple[FiniteFloat, ...]
    counts: tuple[NonNegativeInt, ...]
    count: NonNegativeInt
    nulls: NonNegativeInt
    mean: FiniteFloat | None
    variance: Annotated[FiniteFloat, Field(ge=0)]
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    quantiles: Mapping[float, FiniteFloat] = Field(default_factory=dict[float, float])

    @model_validator(mode="after")
    def _bins_fit(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} inner edges need {len(self.edges) + 1} counts, not {len(self.counts)}")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must increase strictly")
        if sum(self.counts) != self.count:
            raise ValueError(f"counts add up to {sum(self.counts)}, not to count {self.count}")
        return self

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The share of each bin among the values that were there; all 0 when there was none."""
        return tuple(count / max(self.count, 1) for count in self.counts)


class CategoricalBaseline(BaseModel):
    """The training distribution of a column of categories.

    ``categories`` maps each category to how often it stood there, the most frequent first; ``other`` values belonged to
    categories too rare to be listed. ``count`` values were there in all, ``nulls`` more were missing.

    >>> CategoricalBaseline(categories={"EWR": 3, "JFK": 1}, count=4, nulls=0).categories["EWR"]
    3
    """

    model_config = _FROZEN

    kind: Literal["categorical"] = "categorical"
    categories: Mapping[str, NonNegativeInt]
    other: NonNegativeInt = 0
    count: NonNegativeInt
    nulls: NonNegativeInt

    @model_validator(mode="after")
    def _categories_add_up(self) -> Self:
        total = sum(self.categories.values()) + self.other
        if total != self.count:
            raise ValueError(f"categories and other add up to {total}, not to count {self.count}")
        return self


ColumnBaseline: TypeAlias = Annotated[NumericBaseline | CategoricalBaseline, Field(discriminator="kind")]
"""The training distribution of one column, told apart by ``kind``."""

Baseline: TypeAlias = Mapping[str, ColumnBaseline]
"""The training distribution by column: model inputs, and predictions under their output field's name."""
