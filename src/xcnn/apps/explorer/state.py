"""The state of a page: all that it shows follows from its address."""

from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xcnn.errors import UserError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]
IMAGE = r"^(test-\d{1,7}|[0-9a-f]{32})$"  # a test image's place, or the hash of an uploaded one: never a path


class State(BaseModel):
    """What is shown. An unknown parameter is refused; an empty name stands for the default.

    Attributes:
        network: name of the network.
        image: `test-<place>`, or the hash of an uploaded image.
        layer: name of the layer whose filters are shown.
        target: name of the class explained; empty for the predicted one.
        sign: which filters: those of the greatest absolute score, or for or against the class only.
        n: number of filters.
        threshold: share of the strongest response from which the circle encloses a pixel, in (0, 1].
        sigma: standard deviation of the smoothing before it, in pixels of 224.
        unit: value of the constant map behind the scores: 1, or each filter's 95th percentile.
        first, second: attribution methods, side by side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Name = ""
    image: Annotated[str, Field(pattern=IMAGE)] = "test-0"
    layer: Name = ""
    target: Annotated[str, Field(max_length=100)] = ""
    sign: Literal["both", "positive", "negative"] = "both"
    n: Annotated[int, Field(ge=1, le=24)] = 6
    threshold: Annotated[float, Field(ge=0.05, le=1)] = 0.5
    sigma: Annotated[float, Field(ge=0, le=40)] = 6.0
    unit: Literal["one", "p95"] = "one"
    first: Name = "grad_cam"
    second: Name = "lrp_epsilon"

    @classmethod
    def parse(cls, query: str) -> "State":
        """The state that `query` wrote.

        Raises:
            UserError: an unknown parameter, or a value that it may not have.
        """
        try:
            return cls(**dict(parse_qsl(query)))  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def query(self, **changes: Any) -> str:
        """The query string of this state with some changes; what has its default is left out."""
        values, fields = self.model_dump() | changes, type(self).model_fields
        return urlencode({key: value for key, value in values.items() if value != fields[key].default})


class GalleryState(State):
    """The state beneath a page of images to choose from.

    Attributes:
        label: name of the class shown; empty for all.
        page: number of the page, from 0.
    """

    label: Annotated[str, Field(max_length=100)] = ""
    page: Annotated[int, Field(ge=0, le=100_000)] = 0
