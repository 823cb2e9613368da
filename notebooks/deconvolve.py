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
# # DeConvolve: reading the results
#
# Everything here comes from the committed records in `results/deconvolve/`; nothing is trained and no data set is
# needed. `make notebooks` runs it again. The pages `results/deconvolve/*.md` hold the same numbers beside the paper's.

# %%
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from xcnn.report.publish import read_records
from xcnn.report.tables import aggregate, read_paper
from xcnn.report.verdicts import compare

results = next(folder for folder in (Path("results"), Path("../results")) if folder.is_dir()) / "deconvolve"


def rows(name: str):
    """Our rows of an experiment: means over seeds."""
    return aggregate(read_records(results / f"{name}.runs.jsonl"), order=["plain", "literal", "floored"])


def table(name: str, metrics: list[str]) -> pd.DataFrame:
    """A frame with a row per method and setting."""
    return pd.DataFrame(
        {
            "method": row.method,
            **{metric: row.show(metric) for metric in metrics},
            "seeds": row.n,
            "setting": row.setting,
        }
        for row in rows(name)
    )


# %% [markdown]
# ## Does the loss raise the succinctness from 0.85 to 1.00?
#
# The paper's two numbers (section 4.2) beside ours, then every layer. Dead filters and accuracy stand in every row,
# because a network can win this measure by killing filters; `thinned` is the plain network with as many filters taken
# away at random as the loss has killed. `literal` is eq. 1 as printed; `floored` is our variant with floors under both
# terms, which lie where a plain network is anyway, so that it changes little.

# %%
paper = read_paper(results / "succinctness.paper.csv")
pd.DataFrame(
    {
        "method": one.paper.row,
        "paper": one.paper.value,
        "ours": one.row.show(one.paper.metric) if one.row else "-",
        "difference": one.difference,
        "verdict": one.verdict,
    }
    for one in compare(rows("succinctness"), paper)
).round(3)

# %%
layers = ["relu1", "relu2", "relu3"]
table(
    "succinctness",
    ["accuracy", "dead", "silent", *(f"succinctness.{layer}" for layer in layers), "succinctness", "thinned"],
)

# %% [markdown]
# ## What each term costs
#
# `area` and `dispersion` are means over the maps that are live. `black_pixels` is the black share of all maps: 1 less
# the area over all maps, the quantity that eq. 1 penalises. With the loss the first rises and the second area falls,
# since many maps fall silent. The trainings of 2 epochs are a probe of networks that have hardly begun to learn.

# %%
ablation = table("ablation", ["accuracy", "dead", "silent", "area", "black_pixels", "dispersion", "succinctness"])
ablation[~ablation["method"].str.contains("-a0")]

# %% [markdown]
# ## The alpha x beta grid
#
# Also trained for 2 epochs. Where the accuracy is at chance (0.1), a cell says nothing about filters.

# %%
grid = ablation[ablation["method"].str.contains("-a0")]
weights = grid["method"].str.extract(r"(?P<mode>\w+)-a(?P<alpha>[\d.]+)-b(?P<beta>[\d.]+)")
pd.concat([weights, grid[["accuracy", "dead", "silent", "area", "black_pixels", "dispersion"]]], axis=1).set_index(
    ["mode", "alpha", "beta"]
).sort_index()

# %% [markdown]
# ## The figures

# %%
for page in ("table1", "figure1", "figure5", "figure6", "figure7", "figure8", "figure9", "ablation"):
    for picture in sorted(results.glob(f"{page}*.png")):
        # Linked, not embedded: the pictures are committed once, in results/.
        display(Markdown(f"**{picture.stem}**\n\n![{picture.stem}](../results/deconvolve/{picture.name})"))

# %% [markdown]
# ## Filters in words
#
# Every word is measured; no language model was asked. That each claim holds when it is measured again is a consistency
# check of the words against the evidence that they were made of, not a test of the explanation.

# %%
words = [
    {"figure": name, "sign": sign, "filter": entry["filter"], "score": entry["score"], "words": entry["text"]}
    for name in ("figure6", "figure7", "figure8")
    for record in read_records(results / f"{name}.runs.jsonl")
    for sign in ("positive", "negative")
    for entry in record["details"][sign]
]
pd.DataFrame(words).style.set_properties(subset=["words"], **{"text-align": "left"}).hide(axis="index").format(
    {"score": "{:+.4f}"}
)
