"""Attribution methods: where in the image the evidence for a class lies. One method, one file."""

from xcnn.attribution.ablation_cam import AblationCAM
from xcnn.attribution.ablation_cam_plus_plus import AblationCAMPlusPlus
from xcnn.attribution.activation_sum import ActivationSum
from xcnn.attribution.batch import Batch
from xcnn.attribution.cam import CAM
from xcnn.attribution.centre import Centre
from xcnn.attribution.grad_cam import GradCAM
from xcnn.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.maps import normalise, upsample
from xcnn.attribution.method import Explanation, Method
from xcnn.attribution.pixel_ablation_cam import PixelAblationCAM
from xcnn.attribution.probe import Probe
from xcnn.attribution.random import Random
from xcnn.attribution.score_cam import ScoreCAM

__all__ = [
    "CAM",
    "AblationCAM",
    "AblationCAMPlusPlus",
    "ActivationSum",
    "Batch",
    "Centre",
    "Explanation",
    "GradCAM",
    "GradCAMPlusPlus",
    "LayerMethod",
    "Method",
    "PixelAblationCAM",
    "Probe",
    "Random",
    "ScoreCAM",
    "normalise",
    "upsample",
]
