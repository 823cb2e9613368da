"""The one exception for what a user can put right, and what its messages share."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A condition that the user can mend; the message says what was found, where, and how to mend it.

    Entry points print the message alone (no traceback) and leave with status 2. It is a `ValueError`, so that callers
    of the library can catch it as they would any refusal of an argument.
    """


class OneCell(UserError):
    """A condition of one cell; the other cells of a sweep are run none the less."""


class Unsuited(OneCell):
    """A method that cannot explain this network, or whose maps on these images are not finite."""


class Diverged(OneCell):
    """A training whose loss stopped being finite; the last good checkpoint is still there."""


class Missing(UserError):
    """Data or weights that are not at hand; what does not need them can still be run."""


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """The names there are, those that are spelt most like `name` first, for a message that the name is not there."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
    return close + [other for other in names if other not in close]
