"""Clear methods, adversarial defence: do maps or conformal sets betray an attacked image?

Paper:      Abbas 2024, "Robustness and Adversarial Defense".
Command:    make visual-revelations-robustness
Reports:    no number; that explanations should be designed to detect adversarial attacks.
Cost:       on one CPU core 2 minutes for each seed on the embedded data; sweep `imagenette` (VGG-16, 200 images): 1.5
            hours; `cifar10`: 10 minutes, 2 GB. These two are not run by default.
Deviations: the paper names no attack and no detector. A detector sees one image, not what it was made of: a map's
            change is that under a slight blur of the image. Confidence alone and the probabilities' change under the
            same blur are the detectors without an explanation; noise of the attack's norm is the control.
"""

from experiments.visual_revelations.robustness_page import summarise
from xcnn.evaluation.attacked import attacked_rows, detection
from xcnn.evaluation.robustness import Attacks
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    methods = setup.attributions(subject, options.methods)
    attacks = Attacks(**options.attacks, seed=options.seed)
    rows = attacked_rows(cell, subject, methods, attacks, options.sigma, options.chunk)
    values = detection(rows, methods, options.alpha, options.seed, **options.raps)
    return subject.measured(values, int((~rows["broken"].astype(bool)).sum()))


if __name__ == "__main__":
    launch(__file__, measure, summarise)
