"""How far a method's map moves when its image is attacked, and when noise of the same norm is added."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from xcnn.attribution import Method
from xcnn.data.pictures import PictureBatch
from xcnn.evaluation.image_rows import Columns, image_rows, metrics_of
from xcnn.evaluation.kept import kept
from xcnn.evaluation.subject import Subject
from xcnn.metrics.attacks import deepfool, fgsm, pgd, shuffled
from xcnn.metrics.ranking import at_size
from xcnn.metrics.similarity import dice, rank_correlation, top_share
from xcnn.report.cells import Cell, Measured

ATTACKS = ("fgsm", "pgd", "deepfool", "deepfool_matched")
NOISES = ("noise", "noise_deepfool")  # of FGSM's norms, and of DeepFool's


@dataclass(frozen=True)
class Attacks:
    """The strengths of the attacks, on images in [0, 1].

    `fgsm` and `pgd` change a value by epsilon at most; `deepfool` is as weak as it can be, `deepfool_matched` goes on
    in its direction to the L2 norm of `fgsm`.

    Args:
        epsilon: largest change of a value.
        steps: of PGD.
        candidates, linearisations: of DeepFool.
        seed: random seed of the noise.
    """

    epsilon: float
    steps: int
    candidates: int
    linearisations: int
    seed: int = 0

    def made(self, cell: Cell, subject: Subject, pictures: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Perturbations by name; the attacks, which no method changes, are kept beside the cells for all of them.

        Rounded to float16, so that those that are read are those that were made.
        """

        def make() -> dict[str, Tensor]:
            return {name: each.half() for name, each in self._attacks(subject, pictures, targets).items()}

        settings = {**asdict(self), "protocol": cell.settings.get("protocol")}
        attacks = kept(cell.folder.parent / "attacks", settings, subject, subject.normalise(pictures), make)
        found = {name: each.to(pictures) for name, each in attacks.items()}
        lengths = {name: each.flatten(1).norm(dim=1)[:, None, None, None] for name, each in found.items()}
        tiny = torch.finfo(pictures.dtype).tiny
        found["deepfool_matched"] = found["deepfool"] * (lengths["fgsm"] / lengths["deepfool"].clamp(min=tiny))
        found["noise"] = shuffled(found["fgsm"], self.seed)
        found["noise_deepfool"] = shuffled(found["deepfool"], self.seed)
        return {name: found[name] for name in (*ATTACKS, *NOISES)}

    def _attacks(self, subject: Subject, pictures: Tensor, targets: Tensor) -> dict[str, Tensor]:
        def logits(images: Tensor) -> Tensor:
            scores: Tensor = subject.network(subject.normalise(images))
            return scores

        return {
            "fgsm": fgsm(logits, pictures, targets, self.epsilon),
            "pgd": pgd(logits, pictures, targets, self.epsilon, self.steps),
            "deepfool": deepfool(logits, pictures, self.candidates, self.linearisations),
        }


def measure_robustness(
    cell: Cell, subject: Subject, method: Method, attacks: Attacks, share: float, chunk: int
) -> Measured:
    """Rows of Dice's coefficient and rank correlation between the map of an image and those of its altered versions.

    For the class predicted for the image, and (`_anew`) for the one predicted for the attacked image.

    Args:
        share: of the locations, the highest, whose overlap is Dice's.
    """

    def columns(batch: PictureBatch) -> Columns:
        pictures = subject.scaled(batch)
        explanation = method.explain(subject.normalise(pictures))
        targets, size = explanation.targets, pictures.shape[2:]
        before = at_size(explanation.maps, size)
        marked = top_share(before, share, seed=0)

        def compared(maps: Tensor, name: str, when: str = "") -> dict[str, Tensor]:
            after = at_size(maps, size)
            overlap, rank = dice(top_share(after, share, seed=1), marked), rank_correlation(after, before)
            return {f"dice{when}/{name}": overlap, f"rank{when}/{name}": rank}

        found: dict[str, Tensor] = {"target": targets}
        made = attacks.made(cell, subject, pictures, targets)
        for name, perturbation in made.items():
            inputs = subject.normalise(pictures + perturbation)
            fixed, *anew = method.explain_each(inputs, [targets, None] if name in ATTACKS else [targets])
            turned = fixed.logits.argmax(1) != targets
            found |= compared(fixed.maps, name)
            found |= {f"l2/{name}": perturbation.flatten(1).norm(dim=1), f"turned/{name}": turned.double()}
            for each in anew:
                found |= compared(each.maps, name, "_anew")
        return found

    rows = image_rows(cell, subject, chunk, columns)
    rows = rows[~rows["broken"]]
    return subject.measured({name: float(rows[name].mean()) for name in metrics_of(rows)}, len(rows))
