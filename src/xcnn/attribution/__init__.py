"""Where in the image: one method, one file."""

from xcnn.attribution.ablation_cam import AblationCAM
from xcnn.attribution.ablation_cam_plus_plus import AblationCAMPlusPlus
from xcnn.attribution.activation_sum import ActivationSum
from xcnn.attribution.cam import CAM
from xcnn.attribution.centre import Centre
from xcnn.attribution.grad_cam import GradCAM
from xcnn.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from xcnn.attribution.method import Explanation, Method, normalise, upsample
from xcnn.attribution.pixel_ablation_cam import PixelAblationCAM
from xcnn.attribution.probe import Probe
from xcnn.attribution.random import Random
from xcnn.attribution.score_cam import ScoreCAM

__all__ = [
    "CAM",
    "AblationCAM",
    "AblationCAMPlusPlus",
    "ActivationSum",
    "Centre",
    "Explanation",
    "GradCAM",
    "GradCAMPlusPlus",
    "Method",
    "PixelAblationCAM",
    "Probe",
    "Random",
    "ScoreCAM",
    "normalise",
    "upsample",
]
