"""What rendering one text may cost: work, output and nesting, in proportion to its length.

Work is counted, so the same text always comes out the same, on any machine; the time of the processor is
only the last bound. Pure: the clock is passed in.
"""

from collections.abc import Callable

MIN_WORK = 5_000
WORK_PER_CHARACTER = 8
"""Units of work, of one or two microseconds. What people write needs 1 per character at most."""

MIN_OUTPUT = 4_096
OUTPUT_PER_CHARACTER = 12
"""Characters of HTML. A text of nothing but short links needs about 9."""

MAX_DEPTH = 50
"""Elements within elements."""

MAX_SECONDS = 5.0
"""CPU time: above what the work takes, also on a machine ten times slower."""

_CHECK_EVERY = 32
"""Steps between two checks of the clock."""


class OverBudget(Exception):
    """This text costs more than it may."""


class Budget:
    """What is left for one text. Going over it raises OverBudget."""

    def __init__(self, length: int, clock: Callable[[], float]) -> None:
        self._work = MIN_WORK + WORK_PER_CHARACTER * length
        self._output = MIN_OUTPUT + OUTPUT_PER_CHARACTER * length
        self._clock = clock
        self._deadline = clock() + MAX_SECONDS
        self._steps = 0

    def spend(self, units: int) -> None:
        """Spend units of work, in one step."""
        self._work -= units
        self._steps += 1
        if self._work < 0 or (self._steps % _CHECK_EVERY == 0 and self._clock() > self._deadline):
            raise OverBudget

    def check_output(self, characters: int) -> None:
        """Check how long the output is, all in all."""
        if characters > self._output:
            raise OverBudget

    def check_depth(self, elements: int) -> None:
        """Check how deep elements are nested."""
        if elements > MAX_DEPTH:
            raise OverBudget

    def __repr__(self) -> str:
        """Show what is left."""
        return f"<Budget: {self._work} of work left, {self._output} of output>"
