"""What rendering one text may cost: work, output and nesting, in proportion to its length.

Work is counted, so the same text always comes out the same, on any machine; the time of the processor is
only the last bound. Pure: the clock is passed in.
"""

from collections.abc import Callable

WORK_AT_LEAST = 5_000
WORK_PER_CHARACTER = 8
"""Units of work, of one or two microseconds. What people write needs 1 per character at most."""

OUTPUT_AT_LEAST = 4_096
OUTPUT_PER_CHARACTER = 12
"""Characters of HTML. A text of nothing but short links needs about 9."""

DEEPEST = 50
"""Elements within elements."""

SECONDS = 5.0
"""Time of the processor: above what the work takes, also on a machine ten times slower."""

_LOOK_EVERY = 32
"""Steps between two looks at the clock."""


class OverBudget(Exception):
    """This text costs more than it may."""


class Budget:
    """What is left for one text. Whatever is over it raises OverBudget."""

    def __init__(self, length: int, clock: Callable[[], float]) -> None:
        self._work = WORK_AT_LEAST + WORK_PER_CHARACTER * length
        self._output = OUTPUT_AT_LEAST + OUTPUT_PER_CHARACTER * length
        self._clock = clock
        self._until = clock() + SECONDS
        self._steps = 0

    def work(self, units: int) -> None:
        """Take one step of so many units of work."""
        self._work -= units
        self._steps += 1
        if self._work < 0 or (self._steps % _LOOK_EVERY == 0 and self._clock() > self._until):
            raise OverBudget

    def output(self, characters: int) -> None:
        """Be so long, all in all."""
        if characters > self._output:
            raise OverBudget

    def depth(self, elements: int) -> None:
        """Be within so many elements."""
        if elements > DEEPEST:
            raise OverBudget

    def __repr__(self) -> str:
        """Show what is left."""
        return f"<Budget: {self._work} of work left, {self._output} of output>"
