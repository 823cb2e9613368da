"""Small studies for the tests: one-pixel pictures, and no network."""

import io

from PIL import Image

from xcnn.apps.study.store import Design, Kind, NewItem

METHODS = ("grad_cam", "ablation_cam", "pixel_ablation_cam")
MODELS = ("resnet50", "vgg16")


def png(grey: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (1, 1), grey).save(stream, "PNG")
    return stream.getvalue()


def design(kind: Kind = "maps", per_rater: int = 6, name: str = "maps") -> Design:
    choices = METHODS if kind == "maps" else MODELS
    return Design(name, kind, choices, per_rater, 0, 0, "1", "You agree.", "Look <b>well</b>.", "Which?")


def items(choices: tuple[str, ...] = METHODS, images: int = 6, practice: int = 1, checks: int = 1) -> list[NewItem]:
    roles = ["practice"] * practice + ["check"] * checks + ["image"] * images
    return [
        NewItem(
            f"{role}{place}",
            f"class of {place}",
            {choice: png(number) for number, choice in enumerate(("", *choices))},
            role,
            (choices[0] if len(choices) > 2 else "0") if role == "check" else None,
        )
        for place, role in enumerate(roles)
    ]
