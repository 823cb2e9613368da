"""What a study does with its database; each function is one transaction."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from xcnn.apps.study import balance
from xcnn.apps.study.database import writing
from xcnn.apps.study.tables import SAME, SCORES, Answer, Item, Picture, Rater, Study, Task
from xcnn.errors import UserError
from xcnn.fingerprint import fingerprint

Kind = Literal["maps", "models", "pairs"]
Outcome = Literal["given", "given before", "refused"]


@dataclass(frozen=True)
class Design:
    """What is decided before the first rater is asked, and never changed.

    Args:
        name: of the study, in its address: letters, digits, - and _.
        kind: `maps` (choose among them, or "same"), `models` (compare two, from -2 to +2) or, of the explorer's votes,
            `pairs` (choose among the two that were shown, or "same").
        choices: the methods or the two models, which raters do not see named.
        per_rater: images for each rater, practice and checks not counted.
        seed: random seed of orders and sides.
        checks_failed: attention checks that a rater may fail and still be counted.
        consent_version, consent: of the text that raters agree to.
        instructions, question: what they are told, and asked of each image.
    """

    name: str
    kind: Kind
    choices: tuple[str, ...]
    per_rater: int
    seed: int
    checks_failed: int
    consent_version: str
    consent: str
    instructions: str
    question: str


@dataclass(frozen=True)
class NewItem:
    """An image to be shown: its name, its class, its role (see `tables.Item`), and its pictures as PNG.

    `pictures` go by choice, and have the image itself under the empty name.
    """

    image: str
    title: str
    pictures: Mapping[str, bytes]
    role: str = "image"
    expected: str | None = None


@dataclass(frozen=True)
class Question:
    """What a rater is shown: an item, the ids of its pictures from left to right, and how far the rater is."""

    item: int
    title: str
    role: str
    original: str
    pictures: list[str]
    answered: int
    tasks: int


def create(engine: Engine, design: Design, items: Sequence[NewItem]) -> str:
    """Make a study and freeze its design; returns the hash of it, to be published before the first answer.

    Raises:
        UserError: the design cannot be carried out, or the study is there already.
    """
    _check(design, items)
    decided = {
        **asdict(design),
        "items": [
            [i.image, i.title, i.role, i.expected, {c: hashlib.sha256(p).hexdigest() for c, p in i.pictures.items()}]
            for i in items
        ],
    }
    study = frozen(design, decided)
    digest = study.design_hash
    with writing(engine) as session:
        if session.scalar(select(Study.id).where(Study.name == design.name)):
            raise UserError(f"there is a study {design.name!r} already: choose another name.")
        session.add(study)
        session.flush()
        for new in items:
            item = Item(study_id=study.id, image=new.image, title=new.title, role=new.role, expected=new.expected)
            session.add(item)
            session.flush()
            session.add_all(
                Picture(id=secrets.token_urlsafe(16), item_id=item.id, choice=choice, content=content)
                for choice, content in new.pictures.items()
            )
    return digest


def frozen(design: Design, decided: dict[str, Any]) -> Study:
    """A study that is not in a database yet, with its secret and the hash of all that was decided before."""
    return Study(
        name=design.name,
        kind=design.kind,
        choices=list(design.choices),
        design=decided,
        design_hash=fingerprint(decided),
        secret=secrets.token_hex(32),
        created=datetime.now(UTC),
    )


def _check(design: Design, items: Sequence[NewItem]) -> None:
    images = [item for item in items if item.role == "image"]
    names = [item.image for item in items]
    wanted = {"", *design.choices}
    wrong = [item.image for item in items if set(item.pictures) != wanted]
    if not design.name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"the study's name is {design.name!r}; letters, digits, - and _ fit in an address.")
    if len(set(design.choices)) < 2 or (design.kind == "models" and len(design.choices) != 2):
        raise UserError(f"a study of {design.kind} cannot compare {', '.join(design.choices) or 'nothing'}.")
    if not 1 <= design.per_rater <= len(images):
        raise UserError(f"per_rater is {design.per_rater}, and there are {len(images)} images: choose one in 1..that.")
    if len(set(names)) < len(names):
        raise UserError("two images have the same name: give each its own.")
    if wrong:
        raise UserError(f"{wrong[0]} has other pictures than {', '.join(sorted(wanted))} ('' is the image itself).")


def studies(engine: Engine) -> list[Study]:
    """All studies, by name."""
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(select(Study).order_by(Study.name)))


def study_named(engine: Engine, name: str) -> Study | None:
    with Session(engine, expire_on_commit=False) as session:
        return session.scalar(select(Study).where(Study.name == name))


def signed(study: Study, who: str) -> str:
    """A link's last part: `who` (`admin`, or a rater's id) and a signature that only this study's secret gives."""
    words = f"{study.name}:{who}".encode()
    return f"{who}.{hmac.new(study.secret.encode(), words, hashlib.sha256).hexdigest()[:40]}"


def verified(study: Study, token: str) -> str | None:
    """Who a token was signed for; None if it was not."""
    who = token.partition(".")[0]
    return who if hmac.compare_digest(signed(study, who).encode(), token.encode()) else None


def new_rater(session: Session, study: Study, version: str) -> Rater:
    """A rater with the study's next number, who agreed to a version of its text."""
    own = select(Study.id).where(Study.id == study.id)
    session.execute(own.with_for_update(key_share=True))  # PostgreSQL: one number at a time
    last = session.scalar(select(func.max(Rater.number)).where(Rater.study_id == study.id))
    number = 0 if last is None else last + 1
    rater = Rater(study_id=study.id, number=number, consent_version=version, consented=datetime.now(UTC))
    session.add(rater)
    session.flush()
    return rater


def consent(engine: Engine, study: Study, version: str) -> int:
    """A new rater with all tasks, in the balanced design's next place; returns the rater's id.

    Raises:
        UserError: the rater agreed to another version of the text.
    """
    design = study.design
    if version != design["consent_version"]:
        raise UserError("the consent form has changed since you opened it: please read it again.")
    with writing(engine) as session:
        rater = new_rater(session, study, version)
        items = session.execute(select(Item.id, Item.role).where(Item.study_id == study.id).order_by(Item.id)).all()
        of = {role: [i for i, r in items if r == role] for role in ("practice", "image", "check")}
        shown = balance.block(of["image"], rater.number, design["per_rater"], design["seed"])
        others = {role: [(item, item + rater.number) for item in of[role]] for role in ("practice", "check")}
        order = [*others["practice"], *balance.with_checks(shown, others["check"])]
        session.add_all(
            Task(rater_id=rater.id, item_id=item, place=place, sides=balance.sides(study.choices, turn))
            for place, (item, turn) in enumerate(order)
        )
        return rater.id


def takes_part(engine: Engine, study: Study, rater: int) -> bool:
    """Whether there is such a rater, who has not withdrawn."""
    with Session(engine) as session:
        found = session.get(Rater, rater)
        return found is not None and found.study_id == study.id and found.withdrawn is None


def next_question(engine: Engine, study: Study, rater: int) -> Question | None:
    """The first task without an answer, whose first showing is noted; None at the end."""
    with Session(engine) as session:
        given = select(Answer.item_id).where(Answer.rater_id == rater)
        tasks = session.scalar(select(func.count()).where(Task.rater_id == rater)) or 0
        answered = session.scalar(select(func.count()).where(Answer.rater_id == rater)) or 0
        task = session.scalar(
            select(Task).where(Task.rater_id == rater, Task.item_id.not_in(given)).order_by(Task.place).limit(1)
        )
        if task is None:
            return None
        item = session.get_one(Item, task.item_id)
        rows = session.execute(select(Picture.choice, Picture.id).where(Picture.item_id == item.id)).all()
        pictures = {row.choice: row.id for row in rows}
        sides = [pictures[choice] for choice in task.sides]
        found = Question(item.id, item.title, item.role, pictures[""], sides, answered, tasks)
        first, place = task.shown is None, task.id
    if first:
        with writing(engine) as session:
            now = datetime.now(UTC)
            session.execute(update(Task).where(Task.id == place, Task.shown.is_(None)).values(shown=now))
    return found


def answer(engine: Engine, study: Study, rater: int, item: int, given: str) -> Outcome:
    """Keep a rater's answer; sent again it changes nothing, and another one for the same item is refused.

    Args:
        given: `same` or the place of the chosen map from the left (`0`, ...); in a study of models, the score.

    Raises:
        UserError: the rater was not asked this item, or the answer is none.
    """
    with writing(engine) as session:
        found = select(Task).join(Rater, Rater.id == Task.rater_id).where(Task.rater_id == rater, Task.item_id == item)
        task = session.scalar(found.with_for_update())  # PostgreSQL: a rater's answers and withdrawal one at a time
        if task is None:
            raise UserError("you were not asked about this image.")
        value = _value(study, task.sides, given)
        before = session.scalar(select(Answer.answer).where(Answer.rater_id == rater, Answer.item_id == item))
        if before is not None:
            return "given before" if before == value else "refused"
        now = datetime.now(UTC)
        seconds = None
        if task.shown is not None:
            seconds = (now - task.shown.replace(tzinfo=task.shown.tzinfo or UTC)).total_seconds()
        session.add(Answer(study_id=study.id, rater_id=rater, item_id=item, answer=value, seconds=seconds, given=now))
    return "given"


def _value(study: Study, sides: Sequence[str], given: str) -> str:
    if study.kind == "models":
        if given not in map(str, SCORES):
            raise UserError(f"the score {given!r} is none of {SCORES}.")
        return given
    if given == SAME:
        return SAME
    if not given.isdecimal() or int(given) >= len(sides):
        raise UserError(f"the answer {given!r} is none of the maps.")
    return sides[int(given)]


def withdraw(engine: Engine, rater: int) -> None:
    """Delete all that a rater answered; the consent and its withdrawal stay, so that the place is not filled again."""
    with writing(engine) as session:
        session.get_one(Rater, rater, with_for_update=True).withdrawn = datetime.now(UTC)
        session.execute(delete(Answer).where(Answer.rater_id == rater))
        session.execute(delete(Task).where(Task.rater_id == rater))


def picture(engine: Engine, name: str) -> bytes | None:
    """The PNG of an opaque id."""
    with Session(engine) as session:
        return session.scalar(select(Picture.content).where(Picture.id == name))


def progress(engine: Engine, study: Study) -> list[dict[str, Any]]:
    """A line for each rater: number, tasks, answers, checks failed, whether excluded, whether withdrawn."""
    with Session(engine) as session:
        lines = []
        for rater in session.scalars(select(Rater).where(Rater.study_id == study.id).order_by(Rater.number)):
            tasks = session.scalar(select(func.count()).where(Task.rater_id == rater.id))
            answered = session.scalar(select(func.count()).where(Answer.rater_id == rater.id))
            failed = _failed(session, rater.id)
            lines.append(
                {
                    "rater": rater.number,
                    "tasks": tasks,
                    "answered": answered,
                    "checks_failed": failed,
                    "excluded": failed > study.design["checks_failed"],
                    "withdrawn": rater.withdrawn is not None,
                }
            )
    return lines


def _failed(session: Session, rater: int) -> int:
    wrong = select(func.count()).select_from(Answer).join(Item, Item.id == Answer.item_id)
    return (
        session.scalar(wrong.where(Answer.rater_id == rater, Item.role == "check", Answer.answer != Item.expected)) or 0
    )
