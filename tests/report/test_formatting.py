"""Numbers, tables and folds as templates write them."""

from types import SimpleNamespace

from xcnn.report.formatting import details, interval, number, percent, plural, signed, table, tally
from xcnn.report.verdicts import Interval


def test_numbers_and_tables() -> None:
    assert (number(1234.5678, 1), number(None), number(float("nan"))) == ("1,234.6", "–", "–")
    assert (number(-0.004, 2), percent(-0.004), signed(-0.004, 2)) == ("0.00", "0 %", "+0.00")
    assert (number(-0.005001, 2), signed(-0.005001, 2)) == ("-0.01", "-0.01")
    assert (percent(0.708, 1), percent(None)) == ("70.8 %", "–")
    assert (signed(1.25), signed(-0.04, 2)) == ("+1.2", "-0.04")
    assert interval(Interval(0.5, 0.25, 0.75, "images", 9), 2) == "0.50 [0.25, 0.75]"
    assert interval(Interval(0.5, 0.5, 0.5, "none", 9), 2, sign=True) == "+0.50" and interval(None) == "–"
    assert [plural(n, "seed") for n in (0, 1, 1000)] == ["0 seeds", "1 seed", "1,000 seeds"]
    assert plural(2, "agrees", "agree") == "2 agree"
    ruled = [SimpleNamespace(verdict=verdict) for verdict in ("holds", "does not hold", "holds")]
    assert [tally(ruled, verdict) for verdict in ("holds", "does not hold", "not run")] == [2, 1, 0]
    assert table(["a", 1], [["b|c", "d\ne"]]) == "| a | 1 |\n| --- | --- |\n| b\\|c | d e |"
    assert details("More", " \n") == "" and "<summary>More</summary>\n\ntext\n\n</details>" in details("More", "text\n")
