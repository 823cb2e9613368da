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
# # Pixel Ablation-CAM: reading the results
#
# Everything here comes from the committed records in `results/pixel_ablation_cam/`; no network is run and no data set
# is needed. `make notebooks` runs it again. The pages `results/pixel_ablation_cam/*.md` hold the same numbers.

# %%
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display

from xcnn.report.publish import read_records
from xcnn.report.tables import aggregate, read_paper

results = next(folder for folder in (Path("results"), Path("../results")) if folder.is_dir()) / "pixel_ablation_cam"
METRICS = ["drop_confidence", "drop_activation", "increase_confidence", "increase_activation"]
PROTOCOLS = [f"{keep}-{fill}" for keep in ("top_fraction", "threshold", "soft") for fill in ("black", "mean")]
ORDER = ["grad_cam", "grad_cam_plus_plus", "ablation_cam", "ablation_cam_plus_plus", "pixel_ablation_cam"]


def rows(name: str):
    """The rows of an experiment, those that several cells were put together for where there are any."""
    records = read_records(results / f"{name}.runs.jsonl")
    return aggregate([record for record in records if "pooled" in record["details"]] or records, order=ORDER)


def with_interval(row, metric: str, choice: str, part: str = "") -> str:
    """`12.3 [11.9, 12.8]`."""
    mean = row.mean[f"{metric}.{part}/{choice}" if part else f"{metric}/{choice}"]
    low, high = (row.mean[f"{metric}.{part}{'_' if part else ''}{end}/{choice}"] for end in ("low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def protocols(name: str, metric: str) -> pd.DataFrame:
    """A metric of each method under each protocol, with its 95 % interval, and the paper's number."""
    paper = {
        (number.row, number.model): number.value
        for number in read_paper(results / f"{name}.paper.csv")
        if number.metric == f"{metric}/*"
    }
    return pd.DataFrame(
        {
            "network": row.model,
            "method": row.method,
            **{each: with_interval(row, metric, each) for each in PROTOCOLS},
            "paper": paper.get((row.method, row.model), "-"),
        }
        for row in rows(name)
    )


# %% [markdown]
# ## Table 1: ResNet-50 on ImageNet val
#
# "The top 20 % of pixels" may be a fifth of the pixels or the pixels above a fifth of the maximum, and what stands in
# place of the rest is not said: all of it was run. `random`, `centre` and `activation_sum` know nothing of the class.

# %%
for metric in METRICS:
    display(Markdown(f"**{metric}**"), protocols("table1", metric))

# %% [markdown]
# ## What sets Pixel Ablation-CAM apart from Grad-CAM
#
# Behind global average pooling and one linear layer the drop at a location is CAM / (hw Y), so the map of drops
# (`pixel_ablation_cam_drop`) is Grad-CAM's. What is left of the difference is eq. 5's second factor, the sum of the
# channels. Paired differences to Grad-CAM, image by image:

# %%
pd.DataFrame(
    {
        "method": row.method,
        **{each: with_interval(row, "drop_confidence", each, "less") for each in PROTOCOLS},
    }
    for row in rows("table1")
    if f"drop_confidence.less/{PROTOCOLS[0]}" in row.mean
)

# %% [markdown]
# ## Table 2: VGG-16

# %%
for metric in METRICS:
    display(Markdown(f"**{metric}**"), protocols("table2", metric))

# %% [markdown]
# ## Localisation

# %%
pd.DataFrame(
    {
        "method": row.method,
        **{
            metric: row.show(metric)
            for metric in ("pointing", "energy", "iou", "box_iou", "localised", "insertion", "deletion", "road")
        },
    }
    for row in rows("localisation")
)

# %% [markdown]
# ## The figures

# %%
for page in ("figure2", "figure3", "figure4", "figure5", "table1", "localisation", "complexity"):
    for picture in sorted(results.glob(f"{page}*.png")):
        # Linked, not embedded: the pictures are committed once, in results/.
        display(Markdown(f"**{picture.stem}**\n\n![{picture.stem}](../results/pixel_ablation_cam/{picture.name})"))
