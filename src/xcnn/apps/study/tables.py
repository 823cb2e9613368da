"""The tables of the study's database. `migrations/` makes them; a test compares the two."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# As `metrics/human_study.py` has them: importing it loads torch, which pages of forms do not need.
SAME = "same"
SCORES = (-2, -1, 0, 1, 2)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), list[str]: JSON, dict[str, Any]: JSON}  # noqa: RUF012


class Study(Base):
    """One study, frozen when it is made: `design` is all that was decided before, `design_hash` its hash.

    `kind` is `maps` (choose among maps, or "same"), `models` (compare two, from -2 to +2) or `pairs` (the explorer's
    votes: choose among any two maps, or "same"); `choices` are the methods or the models, none of `pairs`, whose tasks
    have their own; `secret` signs the raters' links and the administrator's.
    """

    __tablename__ = "studies"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    choices: Mapped[list[str]]
    design: Mapped[dict[str, Any]]
    design_hash: Mapped[str]
    secret: Mapped[str]
    created: Mapped[datetime]


class Item(Base):
    """An image of a study. `role` is `image`, `practice` or `check`; `expected` is the choice that passes a check."""

    __tablename__ = "items"
    __table_args__ = (UniqueConstraint("study_id", "image"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    image: Mapped[str]
    title: Mapped[str]
    role: Mapped[str]
    expected: Mapped[str | None]


class Picture(Base):
    """A PNG of an item: the map of a choice, or the image itself (`choice` is empty). The id says nothing of it."""

    __tablename__ = "pictures"
    __table_args__ = (UniqueConstraint("item_id", "choice"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    choice: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Rater(Base):
    """One who consented. `number` places the rater in the balanced design; a withdrawal deletes tasks and answers."""

    __tablename__ = "raters"
    __table_args__ = (UniqueConstraint("study_id", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    number: Mapped[int]
    consent_version: Mapped[str]
    consented: Mapped[datetime]
    withdrawn: Mapped[datetime | None]


class Task(Base):
    """An item that a rater is asked, at `place` of the order; `sides` are the choices from left to right."""

    __tablename__ = "tasks"
    __table_args__ = (UniqueConstraint("rater_id", "item_id"), UniqueConstraint("rater_id", "place"))
    id: Mapped[int] = mapped_column(primary_key=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"), index=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    place: Mapped[int]
    sides: Mapped[list[str]]
    shown: Mapped[datetime | None]


class Answer(Base):
    """A rater's one answer to an item: a choice, `same`, or a score from -2 to 2 (+2: the first of `sides`)."""

    __tablename__ = "answers"
    __table_args__ = (UniqueConstraint("study_id", "rater_id", "item_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"), index=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("items.id"), index=True)
    answer: Mapped[str]
    seconds: Mapped[float | None]
    given: Mapped[datetime]
