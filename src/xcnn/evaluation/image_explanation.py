"""One image with the filters that raise and lower the probability of its class (DeConvolve, figures 6 to 8)."""

from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.selection import choose_image
from xcnn.evaluation.subject import Subject, networks
from xcnn.figures import save_png, signed_filters
from xcnn.language import Describer
from xcnn.report.cells import Cell, Measured


def explained_image(
    cell: Cell, subject: Subject, describer: Describer, *, layer: str, label: str, correct: bool, top: int = 4
) -> Measured:
    """The first test image that fits, its strongest filters of either sign, and their words, checked again.

    Args:
        cell: the picture is left in its folder, `<experiment's name>.png`.
        subject: network and test images.
        describer: what puts the filters' maps into words.
        layer: whose filters are shown; only those that are live on the image.
        label: true class of the image.
        correct: whether the network gets it right.
        top: number of filters shown of each sign.
    """
    choice = choose_image([subject.network], subject.data, label, correct)
    explainer = FilterExplainer(subject, layer, describer)
    order = explainer.ranked(choice.image, choice.predicted)
    scores = explainer.scores[subject.data.classes.index(choice.predicted)]
    positive = [explainer.explain(choice, choice.predicted, k) for k in order[:top] if scores[k] > 0]
    negative = [explainer.explain(choice, choice.predicted, k) for k in order[::-1][:top] if scores[k] < 0]
    figure = signed_filters(
        choice.image,
        [f.view for f in positive],
        [f.view for f in negative],
        choice.probabilities,
        subject.data.classes,
        choice.predicted,
        f"{label}, classified as {choice.predicted}",
        explainer.threshold,
    )
    file = f"{cell.experiment.split('/')[1]}.png"
    save_png(figure, cell.folder / file)
    explained = [*positive, *negative]
    values = {
        "probability": float(choice.probabilities.max()),
        "accuracy": accuracy(subject),
        "dead": explainer.activity.dead_share,
        "live": float(len(order)),
        "claims": float(sum(len(f.description.claims) for f in explained)),
        "supported": float(sum(f.supported for f in explained)),
    }
    details = {
        "image": choice.index,
        "label": choice.label,
        "predicted": choice.predicted,
        "layer": layer,
        "positive": [f.as_record() for f in positive],
        "negative": [f.as_record() for f in negative],
        "networks": networks(**{cell.labels["method"]: subject}),
    }
    return subject.measured(values, 1, details=details, files=[file])
