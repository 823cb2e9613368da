"""Seconds that TCAV takes for 50 random concepts of one layer and class of ResNet-50, from features at hand.

    python benchmarks/concept_vectors.py

Weights and images are random, on which the cost does not depend: 400 images' features at layer3 (1,024 maps of
14 x 14), 50 images of the class, whose gradients are computed here, and 50 random concepts with 5 vectors each. Beside
it the same vectors by scikit-learn on whole features, of which three are formed and the time of all is extrapolated.
"""

import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from xcnn.models import backbone, split_at
from xcnn.surrogates import gradients, inner_products, tcav_scores
from xcnn.surrogates.tcav import coefficients

IMAGES, OF_CLASS, CONCEPTS, COUNTERPARTS, SIZE = 400, 50, 50, 5, 40


def main() -> None:
    torch.manual_seed(0)
    split = split_at(backbone("resnet50"), "layer3")
    features, of_class = torch.randn(IMAGES, 1024, 14, 14).relu_(), torch.randn(OF_CLASS, 1024, 14, 14).relu_()
    rng = np.random.default_rng(0)
    sets = [rng.choice(IMAGES, SIZE, replace=False) for _ in range(CONCEPTS + COUNTERPARTS)]

    start = time.perf_counter(), time.process_time()
    slopes = inner_products((gradients(split, part, 340) for part in of_class.split(10)), features)
    gram = inner_products(features.split(100), features)
    formed = time.perf_counter(), time.process_time()
    for concept in sets[:CONCEPTS]:
        for others in sets[CONCEPTS:]:
            places = np.concatenate([concept, others])
            tcav_scores(slopes[:, places] @ coefficients(gram[np.ix_(places, places)], SIZE))
    end = time.perf_counter(), time.process_time()

    rows = features.flatten(1)
    whole = time.process_time()
    for others in sets[CONCEPTS : CONCEPTS + 3]:
        places = np.concatenate([sets[0], others])
        LogisticRegression().fit(rows[places].numpy(), np.arange(2 * SIZE) < SIZE)
    each = (time.process_time() - whole) / 3
    total = end[1] - start[1]
    print(
        f"{CONCEPTS} random concepts, {CONCEPTS * COUNTERPARTS} vectors: {total:.1f} s on one core "
        f"({formed[1] - start[1]:.1f} s of them gradients and inner products), {end[0] - start[0]:.1f} s by the clock; "
        f"on whole features {each * CONCEPTS * COUNTERPARTS:.0f} s for the vectors alone: "
        f"{each * CONCEPTS * COUNTERPARTS / total:.1f} x"
    )


if __name__ == "__main__":
    main()
