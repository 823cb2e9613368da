"""Attribution methods: where in the image the evidence for a class lies. One method, one file."""

from xcnn.attribution.ablation_cam import AblationCAM
from xcnn.attribution.ablation_cam_plus_plus import AblationCAMPlusPlus
from xcnn.attribution.activation_sum import ActivationSum
from xcnn.attribution.batch import Batch
from xcnn.attribution.black_box_method import BlackBoxMethod
from xcnn.attribution.cam import CAM
from xcnn.attribution.centre import Centre
from xcnn.attribution.deconvnet import DeconvNet
from xcnn.attribution.deep_lift import DeepLIFT
from xcnn.attribution.deep_taylor import DeepTaylor
from xcnn.attribution.edges import Edges
from xcnn.attribution.fem import FEM
from xcnn.attribution.fresh_noise import FreshNoise
from xcnn.attribution.grad_cam import GradCAM
from xcnn.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from xcnn.attribution.gradient import Gradient
from xcnn.attribution.guided_backprop import GuidedBackprop
from xcnn.attribution.guided_grad_cam import GuidedGradCAM
from xcnn.attribution.input_method import InputMethod
from xcnn.attribution.integrated_gradients import IntegratedGradients
from xcnn.attribution.layer_method import LayerMethod
from xcnn.attribution.lime import LIME
from xcnn.attribution.lrp import LRP
from xcnn.attribution.maps import normalise, upsample
from xcnn.attribution.meaningful_perturbation import MeaningfulPerturbation
from xcnn.attribution.method import Explanation, Method
from xcnn.attribution.occlusion import Occlusion
from xcnn.attribution.pixel_ablation_cam import PixelAblationCAM
from xcnn.attribution.probe import Probe
from xcnn.attribution.random import Random
from xcnn.attribution.rise import RISE
from xcnn.attribution.score_cam import ScoreCAM
from xcnn.attribution.smooth_grad import SmoothGrad
from xcnn.attribution.two_generators import TwoGenerators
from xcnn.attribution.walk_method import WalkMethod

__all__ = [
    "CAM",
    "FEM",
    "LIME",
    "LRP",
    "RISE",
    "AblationCAM",
    "AblationCAMPlusPlus",
    "ActivationSum",
    "Batch",
    "BlackBoxMethod",
    "Centre",
    "DeconvNet",
    "DeepLIFT",
    "DeepTaylor",
    "Edges",
    "Explanation",
    "FreshNoise",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradient",
    "GuidedBackprop",
    "GuidedGradCAM",
    "InputMethod",
    "IntegratedGradients",
    "LayerMethod",
    "MeaningfulPerturbation",
    "Method",
    "Occlusion",
    "PixelAblationCAM",
    "Probe",
    "Random",
    "ScoreCAM",
    "SmoothGrad",
    "TwoGenerators",
    "WalkMethod",
    "normalise",
    "upsample",
]
