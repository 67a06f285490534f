"""The order in which the sides of a measurement of overhead run."""

from itertools import permutations

from benchmarks.sides import Taken, blocks


def test_every_order_comes_before_any_comes_again(capsys) -> None:
    """Else a side that is first more often than the others bears what being first costs."""
    ran: list[str] = []

    def side(name: str):
        return lambda: ran.append(name) or Taken(1.0, None)

    for taken in blocks("torch:eager", 12, {name: side(name) for name in "abc"}):
        assert list(taken) == ran[-3:]
    orders = [tuple(ran[i : i + 3]) for i in range(0, len(ran), 3)]
    assert sorted(orders[:6]) == sorted(orders[6:]) == sorted(permutations("abc"))
    assert orders[:6] != orders[6:]
    assert "block 12 of 12: a 1.000 s, b 1.000 s, c 1.000 s" in capsys.readouterr().out
