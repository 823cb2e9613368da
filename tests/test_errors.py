"""What messages share."""

from xcnn.errors import nearest_first


def test_names_spelt_alike_come_first_and_all_come() -> None:
    known = ["layer1.0.conv2", "size", "layer4", "fc", "layer3"]
    assert nearest_first("layer5", iter(known)) == ["layer4", "layer3", "layer1.0.conv2", "size", "fc"]
    assert nearest_first("nothing", known) == known and nearest_first("x", []) == []
