# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Post-hoc self-explanation: reading the results
#
# Everything here comes from the committed records in `results/self_explanation/`; no network is run and no data set is
# needed. `make notebooks` runs it again. The pages `results/self_explanation/*.md` hold the same numbers.

# %%
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from xcnn.report.publish import read_records
from xcnn.report.tables import aggregate, read_paper
from xcnn.report.verdicts import compare

results = next(folder for folder in (Path("results"), Path("../results")) if folder.is_dir()) / "self_explanation"
ORDER = ["cnn", "cnn_adam", "kmex_1", "kmex", "protopnet", "b4"]
ORDER += [f"columns_{kind}" for kind in ("own", "max", "average", "k_means")]
ORDER += [blocks + weight for blocks in ("b34", "b234") for weight in ("", "_sqrt", "_equal")]


def rows(name: str):
    """Our rows of an experiment: means over seeds; none before it has run."""
    records = results / f"{name}.runs.jsonl"
    return aggregate(read_records(records), order=ORDER) if records.is_file() else []


def show(name: str, frame: pd.DataFrame) -> None:
    """A table, or how to make it."""
    command = f"make self-explanation-{name.replace('_', '-')}"
    display(Markdown(f"{name} is not run yet: `{command}`.") if frame.empty else frame)


def table(name: str, metrics: list[str] | None = None, digits: int = 3) -> pd.DataFrame:
    """A row per data set, network, method and setting; all metrics where none are named."""
    found = rows(name)
    return pd.DataFrame(
        {
            "data": row.dataset,
            "network": row.model,
            "method": row.method,
            **{
                metric: row.show(metric, digits)
                for metric in metrics or dict.fromkeys(m for r in found for m in r.mean)
            },
            "seeds": row.n,
            "setting": row.setting,
        }
        for row in found
    )


def beside_the_paper(name: str, digits: int = 3) -> pd.DataFrame:
    """The paper's numbers, ours where there are any, and a verdict on each."""
    paper = read_paper(results / f"{name}.paper.csv")
    return pd.DataFrame(
        {
            "data": one.paper.dataset,
            "network": one.row.model if one.row else one.paper.model,
            "method": one.paper.row,
            "metric": one.metric,
            "paper": one.paper.value,
            "ours": one.row.show(one.metric, digits) if one.row else "-",
            "difference": round(one.difference, digits),
            "verdict": one.verdict,
        }
        for one in compare(rows(name), paper)
    )


def pictures(name: str) -> None:
    """Linked, not embedded: the pictures are committed once, in results/."""
    found = sorted(results.glob(f"{name}*.png"))
    for picture in found:
        display(Markdown(f"**{picture.stem}**\n\n![{picture.stem}](../results/self_explanation/{picture.name})"))
    if not found:
        show(name, pd.DataFrame())


# %% [markdown]
# ## Theorem 1: the logits as an average over locations, and several columns for each class
#
# `error`: the largest difference between a logit and the average of h_r . c_j over locations. `dominance`: images of a
# class, in %, that choose the prototype which most of them choose; `first_direction`: squared norm of a class's
# prototypes in one direction, in %.

# %%
THEOREM = ["dominance", "dominance/start", "first_direction", "train", "locations"]
show("theorem1", table("theorem1", THEOREM, digits=1))

# %%
errors = [row for row in rows("theorem1") if "error/float64" in row.mean]
show("theorem1", pd.DataFrame({"network": r.model, "data": r.dataset, **r.mean} for r in errors).dropna(axis=1))

# %% [markdown]
# ## Table 1: do prototypes point where the data lie?
#
# Mean cosine of a class's prototypes with the embeddings of that class and with all others. The paper's numbers fit no
# single definition; all pairs is the main one here, the nearest prototype and test images stand beside it.

# %%
show("table1", table("table1", digits=2))

# %%
show("table1", beside_the_paper("table1", digits=2))

# %% [markdown]
# ## Table 2: accuracy of the network and of what explains it
#
# In %, with the share of predictions that agree with the network's, and of ties, where several classes have as many
# locations.

# %%
show("table2", table("table2", ["train", "test", "agrees/test", "tied/test"], digits=1))

# %%
show("table2", beside_the_paper("table2", digits=1))

# %% [markdown]
# ## Figure 1: an image's segments and the training patches nearest to their prototypes

# %%
pictures("figure1")

# %% [markdown]
# ## Figure 2: embeddings, and the prototypes among them
#
# The projection keeps neighbours and not distances: the cosines of table 1 are the measurement, this is a picture.

# %%
pictures("figure2")

# %% [markdown]
# ## The weight of each block: does it explain where B234 falls?
#
# Dividing each block by its number of channels leaves the shallowest one most of the squared norm. Other weights, all
# else alike:

# %%
show("block_weight", table("block_weight", digits=1))

# %%
pictures("block_weight")

# %% [markdown]
# ## Scalability: k-means against its peers, and fits to a part of the training images

# %%
show("scalability", table("scalability"))

# %%
pictures("scalability")
