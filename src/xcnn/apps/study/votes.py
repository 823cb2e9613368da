"""The answers of a study as `metrics/human_study.py` reads them, from its database or from an exported file."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from xcnn.errors import Missing, UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

COLUMNS = {
    "maps": ["image", "rater", "choice"],
    "pairs": ["image", "rater", "choice"],
    "models": ["image", "rater", "left", "score"],
}
BESIDE = ["study", "excluded", "place", "sides", "seconds"]  # of each answer, for other analyses


def export(engine: "Engine", name: str) -> pd.DataFrame:
    """A row for each rater and image that was asked, its answer missing where there is none yet.

    Columns are those that `vote_counts`, `chosen_of_shown` or `model_comparison` takes, then `BESIDE`. `excluded` says
    that the rater failed more attention checks than the design allows. Practice and checks are left out, and who
    withdrew.

    Raises:
        UserError: there is no such study.
    """
    from sqlalchemy import and_, select

    from xcnn.apps.study import store
    from xcnn.apps.study.tables import Answer, Item, Rater, Task

    study = store.study_named(engine, name)
    if study is None:
        known = ", ".join(each.name for each in store.studies(engine)) or "none"
        raise UserError(f"there is no study {name!r} in this database; there are: {known}.")
    columns = (Item.image, Rater.number, Task.sides, Answer.answer, Task.place, Answer.seconds)
    asked = (
        select(*columns)
        .select_from(Task)
        .join(Rater, Rater.id == Task.rater_id)
        .join(Item, Item.id == Task.item_id)
        .outerjoin(Answer, and_(Answer.rater_id == Task.rater_id, Answer.item_id == Task.item_id))
        .where(Rater.study_id == study.id, Rater.withdrawn.is_(None), Item.role == "image")
        .order_by(Rater.number, Task.place)
    )
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(asked)]
    excluded = {line["rater"]: line["excluded"] for line in store.progress(engine, study)}
    table = pd.DataFrame(rows, columns=["image", "rater", "sides", "answer", "place", "seconds"])
    table["left"] = [each[0] for each in table["sides"]]
    table["sides"] = ["|".join(each) for each in table["sides"]]
    table["excluded"] = table["rater"].map(excluded).astype(bool)
    table["study"] = name
    if study.kind == "models":
        table["score"] = pd.to_numeric(table["answer"]).astype("Int64")
    else:
        table["choice"] = table["answer"]
    return table[[*COLUMNS[study.kind], *BESIDE]]


def votes_file(name: str | None) -> Path:
    """The file with people's answers that a configuration names (`votes.file`).

    Raises:
        Missing: it names none, or one that is not there.
    """
    if not name or not Path(name).is_file():
        raise Missing(f"no answers of people (votes.file={name}): `make study` asks them.")
    return Path(name)


def read_votes(path: Path, study: str) -> tuple[pd.DataFrame, list[str]]:
    """The answers of raters who are not excluded, and all images that were shown.

    Args:
        path: what `export` wrote as CSV, or the study's SQLite file.
        study: its name.

    Raises:
        UserError: the file has no such study.
    """
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype={"image": str, "study": str})
        if "study" not in table or study not in set(table["study"]):
            raise UserError(f"{path} has no answers of a study {study!r}: votes.study=NAME says which one is meant.")
        table = table[table["study"] == study]
    else:
        from xcnn.apps.study.database import connect

        table = export(connect(f"sqlite:///{path}"), study)
    return table[~table["excluded"].astype(bool)], list(dict.fromkeys(table["image"]))
