"""DeConvolve, figure 7: an automobile that the network gets right, and the filters behind it.

Paper:      Meeradevi et al. 2025, section 4.3.1 and figure 7.
Command:    make deconvolve-figure7
Reports:    a picture and a language model's words: the front bumper distinguishes it.
Cost:       one training of 50 epochs (25 to 40 minutes on a CPU core, shared with the other experiments), then seconds.
Deviations: the image is the first test image that fits, not the paper's; the words are measured, not a language
            model's, and name no object part.
"""

from experiments.deconvolve.image_explanation import image_summary
from xcnn.evaluation.image_explanation import explained_image
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured


def measure(setup: Setup, cell: Cell) -> Measured:
    return explained_image(cell, setup.trained(), MeasuredDescriber(), **setup.options.figure)


summarise = image_summary("DeConvolve, figure 7: a right automobile")

if __name__ == "__main__":
    launch(__file__, measure, summarise)
