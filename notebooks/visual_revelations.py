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
# # Clear methods and visual revelations: reading the results
#
# Everything here comes from the committed records in `results/visual_revelations/`; no network is run and no data set
# is needed. `make notebooks` runs it again. The pages `results/visual_revelations/*.md` hold the same numbers.

# %%
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from xcnn.report.formatting import interval
from xcnn.report.page import handed_over
from xcnn.report.publish import read_records
from xcnn.report.tables import aggregate
from xcnn.report.verdicts import spread

results = next(folder for folder in (Path("results"), Path("../results")) if folder.is_dir()) / "visual_revelations"


def rows(name: str):
    """Our rows of an experiment: means over seeds."""
    return aggregate(read_records(results / f"{name}.runs.jsonl"))


def value(row, metric: str, digits: int = 3) -> str:
    """`0.46 [0.44, 0.47]`, the interval over seeds or, with one seed, over images; a dash where there is no value."""
    found = row.mean.get(metric)
    return "–" if found is None or found != found else interval(spread(row, metric), digits)


def choices(row, metric: str) -> list[str]:
    """What follows `metric/` in a row's metrics."""
    return [name.removeprefix(f"{metric}/") for name in row.mean if name.startswith(f"{metric}/")]


def pictures(name: str) -> None:
    """Linked, not embedded: the pictures are committed once, in results/."""
    for picture in sorted(results.glob(f"{name}-*.png")):
        display(Markdown(f"**{picture.stem}**\n\n![{picture.stem}](../results/visual_revelations/{picture.name})"))


# %% [markdown]
# ## What there is

# %%
pd.DataFrame(
    {"experiment": page.stem, "verdict": line["verdict"], "found": line["ours"]}
    for page in sorted(results.glob("*.md"))
    if (line := handed_over(page))
)

# %% [markdown]
# ## Interpretable models beside the network
#
# Share of the network's decisions on test images that each surrogate gives too, with two controls.

# %%
SURROGATES = ["fidelity", "fidelity/majority", "fidelity/shuffled", "accuracy", "accuracy/network", "size"]
display(
    pd.DataFrame(
        {"data": row.dataset, "surrogate": row.method, **{metric: value(row, metric) for metric in SURROGATES}}
        for row in rows("surrogates")
    )
)
pictures("surrogates")

# %% [markdown]
# ## Distillation into a soft decision tree

# %%
TREE = ["accuracy", "accuracy/averaged", "fidelity", "accuracy/network", "leaves"]
display(
    pd.DataFrame(
        {"data": row.dataset, "trained on": row.method, **{metric: value(row, metric, 2) for metric in TREE}}
        for row in rows("soft_tree")
    )
)
pictures("soft_tree")

# %% [markdown]
# ## Uncertainty: calibration, and what conformal sets cover

# %%
display(
    pd.DataFrame(
        {
            "data": row.dataset,
            "sets": kind,
            "coverage": value(row, f"coverage/{kind}", 4),
            "size": value(row, f"size/{kind}"),
        }
        for row in rows("uncertainty")
        for kind in choices(row, "coverage")
    )
)
pictures("uncertainty")

# %% [markdown]
# ## A planted shortcut
#
# What the networks rely on, by the share of the class's training images that had the mark: the share of the class that
# is found, and of all other images that are taken for it, without the mark, with it and with it moved.

# %%
display(
    pd.DataFrame(
        {
            "data": row.dataset,
            "marked": f"{float(share):.0%}",
            **{
                f"{metric}, {version}": row.show(f"{metric}/{version}/{share}")
                for metric in ("recall", "taken")
                for version in ("without", "with", "moved")
            },
        }
        for row in rows("shortcut")
        for share in choices(row, "accuracy/with")
        if "/" not in share  # else a surrogate's
    )
)

# %% [markdown]
# What the methods show of it, means and standard deviations over seeds. `share`: of the positive relevance, on the
# mark; `auroc`: of finding the mark by it; `apart`: of telling this network from the clean one.

# %%
shown = pd.DataFrame(
    {
        "data": row.dataset,
        "method": choice.rpartition("/")[0],
        "marked": f"{float(choice.rpartition('/')[2]):.0%}",
        **{metric: row.show(f"{metric}/{choice}") for metric in ("share", "auroc", "apart")},
        "order": row.mean[f"apart/{choice}"],
    }
    for row in rows("shortcut")
    for choice in choices(row, "apart")
)
display(shown.sort_values(["data", "marked", "order"], ascending=False, ignore_index=True).drop(columns="order"))
pictures("shortcut")

# %% [markdown]
# ## Feedback: does a person's word on the mark repair the network?

# %%
REPAIRED = ["accuracy/without", "accuracy/with", "recall/without", "taken/with", "share/gradient", "share/grad_cam"]
display(
    pd.DataFrame(
        {"data": row.dataset, "training": row.method, **{metric: value(row, metric) for metric in REPAIRED}}
        for row in rows("feedback")
    )
)
pictures("feedback")

# %% [markdown]
# ## Robustness: which score betrays an attack?

# %%
robust = rows("robustness")
display(
    pd.DataFrame(
        {
            "data": row.dataset,
            "score": score,
            **{attack: value(row, f"auroc/{attack}/{score}", 2) for attack in ("fgsm", "pgd", "deepfool", "noise")},
        }
        for row in robust
        for score in choices(row, "auroc/fgsm")
    )
)
display(
    pd.DataFrame(
        {
            "data": row.dataset,
            "sets": kind,
            **{version: value(row, f"coverage/{version}/{kind}") for version in ("clean", "fgsm", "pgd", "deepfool")},
        }
        for row in robust
        for kind in choices(row, "coverage/clean")
    )
)
pictures("robustness")

# %% [markdown]
# ## Real time: how long one waits for the map of one image

# %%
TIMES = {"p50": "ms, p50", "p95": "ms, p95", "ratio_p50": "forward passes"}
waits = pd.DataFrame(
    {
        "data": row.dataset,
        "method": method,
        **{title: value(row, f"{metric}/{method}", 2) for metric, title in TIMES.items()},
        "order": row.mean[f"p50/{method}"],
    }
    for row in rows("real_time")
    for method in choices(row, "p50")
)
display(waits.sort_values(["data", "order"], ignore_index=True).drop(columns="order"))
pictures("real_time")
