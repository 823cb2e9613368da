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
# # White-box methods: reading the results
#
# Everything here comes from the committed records in `results/white_box/`; no network is run and no data set is
# needed. `make notebooks` runs it again. The pages `results/white_box/*.md` hold the same numbers.

# %%
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from xcnn.report.page import handed_over
from xcnn.report.publish import read_records
from xcnn.report.tables import aggregate

results = next(folder for folder in (Path("results"), Path("../results")) if folder.is_dir()) / "white_box"
LOOKS = ["share_above", "gini", "edge_share", "fine_detail", "extent"]


def rows(name: str):
    """The rows of an experiment, those that several cells were put together for where there are any."""
    records = read_records(results / f"{name}.runs.jsonl")
    return aggregate([record for record in records if "pooled" in record["details"]] or records)


def with_interval(row, metric: str, choice: str, digits: int = 2) -> str:
    """`0.46 [0.44, 0.47]`."""
    mean, low, high = (row.mean.get(f"{metric}{end}/{choice}") for end in ("", ".low", ".high"))
    return "–" if mean is None else f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def looks(name: str) -> pd.DataFrame:
    """What a figure's maps look like, by data set and method, with 95 % intervals over images."""
    return pd.DataFrame(
        {"data": row.dataset, "method": method, **{each: with_interval(row, each, method) for each in LOOKS}}
        for row in rows(name)
        for method in dict.fromkeys(key.split("/")[1] for key in row.mean if key.startswith("gini/"))
    )


def pictures(name: str) -> None:
    """Linked, not embedded: the pictures are committed once, in results/."""
    for picture in sorted(results.glob(f"{name}-*.png")):
        display(Markdown(f"**{picture.stem}**\n\n![{picture.stem}](../results/white_box/{picture.name})"))


# %% [markdown]
# ## What there is

# %%
pd.DataFrame(
    {"experiment": page.stem, "verdict": line["verdict"], "found": line["ours"]}
    for page in sorted(results.glob("*.md"))
    if (line := handed_over(page))
)

# %% [markdown]
# ## Figure 4: the colours of a heat map
#
# Share of the scale on which a colour grows darker as the value grows.

# %%
display(
    pd.DataFrame(
        {key.removeprefix("falling/"): [f"{value:.0%}"] for key, value in rows("figure4")[0].mean.items()},
        index=["grows darker"],
    )
)
pictures("figure4")

# %% [markdown]
# ## Figure 6: gradient and guided backpropagation

# %%
display(looks("figure6"))
pictures("figure6")

# %% [markdown]
# ## Figure 7: integrated gradients along the path
#
# `error`: how far the map's sum is from the difference of the scores, by rule and number of points; `correlation`: of a
# map with the one under noise that is hardly visible.

# %%
display(
    pd.DataFrame(
        {"data": row.dataset, "quantity": metric, "method or rule": choice, "": with_interval(row, metric, choice, 3)}
        for row in rows("figure7")
        for metric, _, choice in (key.partition("/") for key in row.mean)
        if choice and "." not in metric
    )
)
pictures("figure7")

# %% [markdown]
# ## Sections 4.4 and 4.5: the smoothness of averaged gradients

# %%
display(looks("smoothness"))
pictures("smoothness")

# %% [markdown]
# ## Figure 8: Grad-CAM and guided Grad-CAM

# %%
display(looks("figure8"))
pictures("figure8")

# %% [markdown]
# ## Figure 9: three rules of LRP, and FEM

# %%
display(looks("figure9"))
pictures("figure9")

# %% [markdown]
# ## Section 6: two generators
#
# Shares of test images that keep and that lose their class, and what the maps score.

# %%
if (results / "two_generators.runs.jsonl").is_file():
    display(
        pd.DataFrame(
            {
                "data": row.dataset,
                "generators": row.method,
                "kept": f"{row.mean['kept']:.1%}",
                "turned": f"{row.mean['turned']:.1%}",
                "map": kind,
                **{each: with_interval(row, each, kind) for each in ("energy", "iou", "deletion", "fine_detail")},
            }
            for row in rows("two_generators")
            for kind in ("pair", "one_generator", "gradient")
        )
    )
    pictures("two_generators")
