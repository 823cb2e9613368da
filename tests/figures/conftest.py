"""What every figure test asserts: pyplot knows of nothing, and the caller's settings are as they were."""

from collections.abc import Iterator

import matplotlib
import matplotlib.pyplot
import pytest


@pytest.fixture(autouse=True)
def pyplot_untouched() -> Iterator[None]:
    """Settings unlike matplotlib's own, so that a figure that forgets them would show."""
    with matplotlib.rc_context({"font.size": 17, "axes.facecolor": "pink"}):
        before = dict(matplotlib.rcParams)
        yield
        assert matplotlib.pyplot.get_fignums() == []
        assert dict(matplotlib.rcParams) == before
