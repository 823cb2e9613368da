"""The 3-conv network of DeConvolve (section 4): three convolutions, two max-poolings, global average pooling.

The paper does not state the padding; `same` is our resolution, because `valid` leaves a 3 x 3 map after the third
convolution at 32 px. Filters: 32 of 3 x 3, 64 of 5 x 5, 128 of 3 x 3 (section 4.1).
"""

from collections import OrderedDict

from torch import nn


def conv3(n_classes: int = 10, in_channels: int = 3) -> nn.Sequential:
    """Images (N, in_channels, H, W) in [0, 1] to logits (N, n_classes); H and W at least 4.

    The post-ReLU maps are the layers `relu1` (32 maps, H x W), `relu2` (64, H/2 x W/2) and `relu3` (128, H/4 x W/4).
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(in_channels, 32, 3, padding="same"),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 5, padding="same"),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(64, 128, 3, padding="same"),
            relu3=nn.ReLU(),
            gap=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(128, n_classes),
        )
    )
