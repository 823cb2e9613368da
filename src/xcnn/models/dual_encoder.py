"""A small dual encoder of images and sentences, in the manner of CLIP (Radford et al. 2021).

Its towers are ours and not `open_clip`'s: those are built for images of 224 px and a vocabulary of 49,408 byte pairs,
whose embeddings alone would have fourteen times the weights of this network, and its losses know one positive for an
image. What it has in common with this, the loss on one positive, is tested against it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageTower(nn.Module):
    """Images (N, C, H, W) to vectors (N, dimension): convolutions, positions, and queries that look where they like.

    Args:
        input_size: of an image, (C, H, W); H and W multiples of 4.
        width: channels of the convolutions.
        queries: number of learnt queries.
        dimension: of the vectors.
    """

    def __init__(self, input_size: tuple[int, int, int], width: int, queries: int, dimension: int):
        super().__init__()
        channels, height, side = input_size
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(channels, width // 2, 3, 2, 1), nn.BatchNorm2d(width // 2), nn.ReLU()),
            *(nn.Conv2d(width // 2, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU()),
        )
        self.positions = nn.Parameter(torch.randn(height // 4 * (side // 4), width) / math.sqrt(width))
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.out = nn.Linear(queries * width, dimension)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.convolutions(images).flatten(2).mT + self.positions
        looked = self.attention(self.queries.expand(len(images), -1, -1), cells, cells, need_weights=False)[0]
        vectors: Tensor = self.out(looked.flatten(1))
        return vectors


class TextTower(nn.Module):
    """Tokens (N, L), 0 behind the end, to vectors (N, dimension): a transformer, averaged over the words.

    Args:
        vocabulary: number of tokens.
        longest: most tokens of a text.
        width: of the transformer.
        layers: of the transformer.
        dimension: of the vectors.
    """

    def __init__(self, vocabulary: int, longest: int, width: int, layers: int, dimension: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.1 * torch.randn(longest, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.out = nn.Linear(width, dimension)

    def forward(self, tokens: Tensor) -> Tensor:
        words = tokens != 0
        read = self.transformer(self.embedding(tokens) + self.positions[: tokens.shape[1]], src_key_padding_mask=~words)
        weights = words / words.sum(1, keepdim=True)
        vectors: Tensor = self.out((read * weights[..., None]).sum(1))
        return vectors


class DualEncoder(nn.Module):
    """Images and tokens to logits (images, texts): the cosine of their vectors times a learnt scale.

    Args:
        input_size: of an image, (C, H, W).
        vocabulary: number of tokens; 0 is behind the end.
        longest: most tokens of a text.
        width: of both towers.
        queries: of the image's tower.
        layers: of the text's tower.
        dimension: of the vectors.
    """

    LARGEST = 100.0  # scale, as in CLIP

    def __init__(
        self,
        input_size: tuple[int, int, int],
        vocabulary: int,
        longest: int,
        width: int = 64,
        queries: int = 8,
        layers: int = 2,
        dimension: int = 128,
    ):
        super().__init__()
        self.image = ImageTower(input_size, width, queries, dimension)
        self.text = TextTower(vocabulary, longest, width, layers, dimension)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=self.LARGEST)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        return self.scale * F.normalize(self.image(images), dim=1) @ F.normalize(self.text(tokens), dim=1).mT
