"""Clear methods, concept activation: which concepts do a network's classes depend on, and would chance say as much?

Paper:      Abbas 2024, "Concept Activation Mapping"; scores and vectors are those of Kim et al. 2018 (TCAV).
Command:    make visual-revelations-tcav
Reports:    no number. Known of TCAV: stripes matter for zebras (Kim et al. 2018, figure 4, GoogLeNet and Inception V3).
Cost:       features of each image once for each layer, kept; then, for all classes together, 388 sets with 5 vectors
            each and 3,630 shufflings a layer, 20 s on a CPU core (`make bench-concept-vectors`: of ResNet-50's layer3
            50 random concepts for a class take 4 s). The embedded data: 5 core-minutes in all. Textures: 1,040 images
            through ResNet-50 twice, 10 core-minutes; 3 GB.
Deviations: the paper names the method and no test. Beside Kim et al.'s t-test, which takes vectors of one set of images
            for independent draws, a concept's score is ranked among those of random sets, which is exact. Vectors are
            formed from inner products of features, which gives the same vectors. Random sets overlap.
"""

from experiments.visual_revelations.tcav_page import summarise
from xcnn.evaluation.tcav import Draws, measure_tcav
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    sets = setup.concepts(subject)
    chosen = options.tcav
    draws = Draws(**chosen.sets, seed=options.seed)
    asked = sets, chosen.layers, chosen.vectors, chosen.c, draws
    values, details = measure_tcav(subject, *asked, setup.kept_features, chosen.dtype)
    n = sum(len(images) for images in sets.classes.values())
    return subject.measured(values, n, details=details)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
