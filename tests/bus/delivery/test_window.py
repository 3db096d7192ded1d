"""How much an instance gets at a time."""

from blog.bus.delivery.budget import MAX_EVENTS
from blog.bus.delivery.window import MAX_WINDOW, Window


def test_a_window_grows_with_success_and_halves_on_overload() -> None:
    """Between one batch and sixteen."""
    window = Window()
    sizes = [window.size]
    for _ in range(20):
        window.grow(1, 0.001)
    sizes.append(window.size)
    for _ in range(10):
        window.halve()
    sizes.append(window.size)
    assert sizes == [2, MAX_WINDOW, 1]


def test_a_batch_has_the_size_that_an_instance_can_do() -> None:
    """As many events as it does in about a tenth of a second, at least one."""
    window = Window()
    for _ in range(5):
        window.grow(10, 0.01)
    assert window.batch_size == MAX_EVENTS
    window.grow(10, 0.5)
    assert window.batch_size == 2
    window.grow(1, 1.0)
    assert window.batch_size == 1
    window.grow(1, 0.001)
    assert window.batch_size == 2
