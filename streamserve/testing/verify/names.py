"""The topics of the built-in app."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Names"]


@dataclass(frozen=True, slots=True)
class Names:
    """The topics of the built-in app ``app``."""

    app: str

    @property
    def inputs(self) -> str:
        """What the app reads."""
        return f"in.{self.app}"

    @property
    def answers(self) -> str:
        """One record for each input, with what the table held then."""
        return f"answers.{self.app}"

    @property
    def guesses(self) -> str:
        """The side output: the model's value for each input, by its id."""
        return f"guesses.{self.app}"

    @property
    def labels(self) -> str:
        """What came true of some inputs, by their ids."""
        return f"labels.{self.app}"

    @property
    def windows(self) -> str:
        """How many inputs each key had, by window."""
        return f"windows.{self.app}"

    @property
    def groups(self) -> str:
        """The same by the key that inputs are regrouped by."""
        return f"groups.{self.app}"

    @property
    def dead_letters(self) -> str:
        """What the app refused."""
        return f"{self.app}-dead-letters"

    @property
    def drift(self) -> str:
        """Statistics of the model's rows, by partition and window."""
        return f"{self.app}-drift"

    @property
    def performance(self) -> str:
        """What became of each label."""
        return f"{self.app}-performance"

    @property
    def chains(self) -> str:
        """The changelog of the table."""
        return f"{self.app}-chains-changelog"

    @property
    def written(self) -> list[str]:
        """Every topic that is judged."""
        told = [self.windows, self.groups, self.drift, self.performance, self.chains]
        return [self.answers, self.guesses, self.dead_letters, *told]
