"""The towers of the dual encoder."""

import torch

from xcnn.models import DualEncoder


def test_a_text_is_read_in_its_order_and_not_beyond_its_end() -> None:
    torch.manual_seed(0)
    network = DualEncoder((3, 32, 32), 20, 10, width=16, queries=2, layers=1, dimension=12).eval()
    text = torch.tensor([[3, 4, 5]])
    short, padded = network.text(text), network.text(torch.tensor([[3, 4, 5, 0, 0, 0]]))
    torch.testing.assert_close(short, padded)
    assert short.shape == (1, 12) and not torch.allclose(short, network.text(torch.tensor([[5, 4, 3]])))


def test_logits_are_scaled_cosines() -> None:
    torch.manual_seed(0)
    network = DualEncoder((3, 32, 32), 20, 10, width=16, queries=2, layers=1, dimension=12).eval()
    images, texts = torch.rand(5, 3, 32, 32), torch.randint(1, 20, (7, 4))
    logits = network(images, texts)
    expected = torch.cosine_similarity(network.image(images)[:, None], network.text(texts)[None], dim=2)
    torch.testing.assert_close(logits, expected / 0.07)
    with torch.no_grad():
        network.log_scale.fill_(9)
    assert network.scale == 100
