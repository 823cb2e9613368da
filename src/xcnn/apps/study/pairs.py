"""Votes on two maps of any image, which the explorer takes into the same database as the studies.

They make up a study of kind `pairs`: its items are made by the votes, its raters agree with their first one. Nobody
chose who votes on what, so its answers stand beside a planned study's, and are never silently added to it.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, func, select

from xcnn.apps.study.database import writing
from xcnn.apps.study.store import Design, Outcome, new_rater, study_named
from xcnn.apps.study.store import frozen as frozen_study
from xcnn.apps.study.tables import SAME, Answer, Item, Rater, Study, Task
from xcnn.errors import UserError

NAME = "explorer"
CONSENT_VERSION = "1"
CONSENT = """My vote may be kept and published, with the time at which I gave it, and without my name or address."""
QUESTION = "Which of the two maps best matches the object that is named above?"


@dataclass(frozen=True)
class Ballot:
    """What a vote is about.

    Args:
        image: what names the network, the picture, the layer and the class, and not the methods.
        title: name of the class.
        sides: the two methods from left to right.
    """

    image: str
    title: str
    sides: tuple[str, str]

    @property
    def item(self) -> str:
        """The image with its two methods, on whichever sides."""
        return f"{self.image}:{'|'.join(sorted(self.sides))}"


def opened(engine: Engine) -> Study:
    """The study of these votes, made if it is not there yet."""
    if (found := study_named(engine, NAME)) is None:
        design = Design(NAME, "pairs", (), 0, 0, 0, CONSENT_VERSION, CONSENT, "", QUESTION)
        with writing(engine) as session:
            if session.scalar(select(Study.id).where(Study.name == NAME)) is None:  # nor has another process made it
                session.add(frozen_study(design, asdict(design)))
        found = study_named(engine, NAME)
        assert found is not None
    if found.kind != "pairs":
        raise UserError(f"the study {NAME!r} of this database is another one: give the explorer a database of its own.")
    return found


def agree(engine: Engine, study: Study, version: str) -> int:
    """A new rater, who agreed to this version of the text; returns the rater's id.

    Raises:
        UserError: the text has changed since.
    """
    if version != study.design["consent_version"]:
        raise UserError("the text that you agree to has changed since you opened it: please read it again.")
    with writing(engine) as session:
        return new_rater(session, study, version).id


def vote(engine: Engine, study: Study, rater: int, ballot: Ballot, given: str) -> Outcome:
    """Keep a rater's vote; sent again it changes nothing, and another one on the same two maps is refused.

    Args:
        given: one of the ballot's methods, or `same`.

    Raises:
        UserError: the vote is none of these, or the rater has withdrawn.
    """
    if given not in (*ballot.sides, SAME) or ballot.sides[0] == ballot.sides[1]:
        raise UserError(f"the vote {given!r} is none of the two maps.")
    with writing(engine) as session:
        own = select(Study.id).where(Study.id == study.id)
        session.execute(own.with_for_update(key_share=True))  # PostgreSQL: an item is made once
        voter = session.get(Rater, rater, with_for_update=True)
        if voter is None or voter.withdrawn is not None:
            raise UserError("you have withdrawn: agree anew to vote again.")
        item = session.scalar(select(Item).where(Item.study_id == study.id, Item.image == ballot.item))
        if item is None:
            item = Item(study_id=study.id, image=ballot.item, title=ballot.title, role="image", expected=None)
            session.add(item)
            session.flush()
        before = session.scalar(select(Answer.answer).where(Answer.rater_id == rater, Answer.item_id == item.id))
        if before is not None:
            return "given before" if before == given else "refused"
        place = session.scalar(select(func.count()).where(Task.rater_id == rater)) or 0
        sides = list(ballot.sides)
        session.add(Task(rater_id=rater, item_id=item.id, place=place, sides=sides, shown=None))
        session.add(Answer(study_id=study.id, rater_id=rater, item_id=item.id, answer=given, given=datetime.now(UTC)))
    return "given"
