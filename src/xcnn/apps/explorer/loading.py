"""Networks that are shown as soon as they are there, while others are still being trained or loaded."""

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection

from xcnn.apps.explorer.networks import ExplainedNetwork
from xcnn.errors import UserError
from xcnn.launch import Setup
from xcnn.launch.compose import checked, compose

WAITS, TRAINED, LOADED = "waits for its turn", "is being trained", "is being loaded and measured"


@dataclass(frozen=True)
class Wanted:
    """A network to be shown: its name, and the experiment with the overrides that describe it."""

    name: str
    identity: str
    overrides: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Of `NAME=EXPERIMENT [OVERRIDES]`.

        Raises:
            UserError: the text has another form, or there is no such experiment or override.
        """
        name, _, rest = text.partition("=")
        if not name or not rest.split():
            raise UserError(f'a network is given as "NAME=EXPERIMENT [OVERRIDES]", not {text!r}.')
        identity, *overrides = rest.split()
        wanted = cls(name, identity, tuple(overrides))
        wanted.setup()
        return wanted

    def setup(self) -> Setup:
        return Setup(checked(compose(self.identity, self.overrides), self.overrides), self.overrides)


class NotReady(Exception):
    """A network that will be there later. `states` says of each network that is not there what it is doing."""

    def __init__(self, name: str, states: Mapping[str, str]):
        super().__init__(f"The network {name} is not ready yet: it {states[name]}.")
        self.name, self.states = name, states


class Networks:
    """The networks that are there, by name; `states` says what the others are doing.

    Args:
        there: networks that are there already.
        wanted: those that `load` brings, in this order: what has been trained before comes first.
    """

    def __init__(self, there: Mapping[str, ExplainedNetwork], wanted: Sequence[Wanted] = ()):
        self._there, self.wanted = dict(there), wanted
        self.names = tuple(dict.fromkeys((*there, *(each.name for each in wanted))))
        self._doing = {each.name: (WAITS, time.monotonic()) for each in wanted}
        self._failed = dict[str, str]()

    def __getitem__(self, name: str) -> ExplainedNetwork:
        """A network.

        Raises:
            UserError: there is none of this name, or it could not be had.
            NotReady: it is not there yet.
        """
        states = self.states
        if name in self._there:
            return self._there[name]
        if name in self._failed:
            raise UserError(f"the network {name} cannot be shown: {self._failed[name]}")
        if name not in self.names:
            raise UserError(f"there is no network {name!r}; there are: {', '.join(self.names)}.")
        raise NotReady(name, states)

    @property
    def there(self) -> tuple[str, ...]:
        """The names of those that are there."""
        return tuple(name for name in self.names if name in self._there)

    @property
    def states(self) -> dict[str, str]:
        """What each network that is not there yet is doing, or why it will not come."""
        doing = {
            name: words if words == WAITS else f"{words}, for {time.monotonic() - since:.0f} s now"
            for name, (words, since) in list(self._doing.items())
        }
        failed = {name: f"cannot be shown: {words}" for name, words in list(self._failed.items())}
        return {name: {**doing, **failed}[name] for name in self.names if name in doing or name in failed}

    def start(self) -> None:
        """Load them in a thread of their own, which ends with the program."""
        threading.Thread(target=self.load, name="loading", daemon=True).start()

    def load(self) -> None:
        """Load what is wanted, one after another."""
        log = logging.getLogger(__name__)
        setups = {each: each.setup() for each in self.wanted}
        for each in sorted(self.wanted, key=lambda each: not self._tried(each, setups[each])):
            if each.name in self._failed:
                continue
            try:
                if not setups[each].is_trained:
                    self._set(each, TRAINED)
                    log.info("network %s is being trained", each.name)
                    _in_another_process(each)
                self._set(each, LOADED)
                network = ExplainedNetwork(each.name, each.identity, *each.overrides)
                network.warm_up()
                self._there[each.name] = network
                log.info("network %s is there", each.name)
            except UserError as error:
                self._fail(each, str(error))
            except Exception:
                log.exception("network %s", each.name)
                self._fail(each, "something went wrong; the server's log says what.")
            self._doing.pop(each.name, None)

    def _tried(self, wanted: Wanted, setup: Setup) -> bool:
        """Whether it is trained; what cannot be known because its data are missing has failed."""
        try:
            return setup.is_trained
        except UserError as error:
            self._fail(wanted, str(error))
            return False

    def _set(self, wanted: Wanted, words: str) -> None:
        self._doing[wanted.name] = words, time.monotonic()

    def _fail(self, wanted: Wanted, words: str) -> None:
        logging.getLogger(__name__).error("network %s: %s", wanted.name, words)
        self._failed[wanted.name] = words
        self._doing.pop(wanted.name, None)


def _in_another_process(wanted: Wanted) -> None:
    """Train a network. Pages that are asked for meanwhile would draw from the random numbers of a training here.

    Raises:
        UserError: it cannot be trained.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(wanted, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        words = ours.recv()
    except EOFError:
        words = "its training ended without a word; the terminal of the server may say why."
    process.join()
    if words:
        raise UserError(words)


def _train(wanted: Wanted, said: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        wanted.setup().explained()
    except UserError as error:
        said.send(str(error))
    else:
        said.send("")


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, in whatever way; a training can be resumed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
