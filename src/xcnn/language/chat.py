"""Words from a language model that takes pictures (sections 3.4 and 3.4.1): how it is asked, and what it answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from torch import Tensor

from xcnn.errors import UserError
from xcnn.language.describer import Description
from xcnn.language.evidence import FilterEvidence
from xcnn.language.measured import FIRES, MOST_CLASSES
from xcnn.language.reading import StructuredReply, read_claims, read_structured
from xcnn.language.replies import Picture, Question, Reply

PROMPTS = Path(__file__).parent / "prompts"

Render = Callable[[Tensor, Tensor], Sequence[Picture]]


class ChatDescriber(ABC):
    """Shows a filter's map on its image to a language model, and reads its reply.

    Args:
        model: as the server names it.
        render: image (3, H, W) and map (h, w) to the pictures that the model sees.
        prompt: `blind` tells it nothing but what the pictures are, `informed` also class, prediction and score; or the
            path of a Jinja template of your own, which gets `evidence` and `firing`.
        structured: ask for a reply by a JSON schema.
        temperature, max_tokens, seed: as the server understands them.

    Raises:
        UserError: no model, or no such prompt.
    """

    provider: str

    def __init__(
        self,
        model: str | None,
        render: Render,
        prompt: str = "blind",
        structured: bool = False,
        temperature: float = 0.0,
        max_tokens: int = 200,
        seed: int = 0,
    ):
        if not model:
            raise UserError("which language model? Name it as the server does: describer.model=NAME.")
        self.model, self.render, self.structured = model, render, structured
        self.parameters: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
        if structured:
            schema = {"name": "description", "schema": StructuredReply.model_json_schema(), "strict": True}
            self.parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
        self._template = template(prompt)

    def question(self, evidence: FilterEvidence) -> Question:
        """What the model is asked about this evidence."""
        auroc = dict(zip(evidence.classes, evidence.auroc.tolist(), strict=True))
        firing = sorted((name for name in auroc if auroc[name] >= FIRES), key=lambda name: -auroc[name])
        text = self._template.render(evidence=evidence, firing=firing[:MOST_CLASSES]).strip()
        return Question(self.model, self.parameters, text, self.render(evidence.image, evidence.activation))

    def describe(self, evidence: FilterEvidence) -> Description:
        """The model's words, and the places, colours, classes and parts that they name, as claims.

        Raises:
            UserError: there is no reply, or it cannot be used (says why).
        """
        question = self.question(evidence)
        text = self.reply(question).text
        read = (
            read_structured(text, evidence.classes) if self.structured else (text, read_claims(text, evidence.classes))
        )
        if read is None:
            raise UserError(
                f"{self.model} replied with what does not fit the schema it was given: {text[:200]!r}. If the server "
                "supports no schema: describer.structured=false."
            )
        return Description(read[0], read[1], self.provider, self.model, question.key, evidence.evidence_hash)

    @abstractmethod
    def reply(self, question: Question) -> Reply:
        """The reply to a question."""


def template(prompt: str) -> jinja2.Template:
    """A prompt by its name, or a file of your own.

    Raises:
        UserError: there is neither.
    """
    own = Path(prompt)
    named = PROMPTS / f"{prompt}.txt.jinja"
    path = named if named.is_file() else own
    if not path.is_file():
        names = ", ".join(sorted(each.name.removesuffix(".txt.jinja") for each in PROMPTS.glob("*.txt.jinja")))
        raise UserError(f"there is no prompt {prompt!r}; there are: {names}, or the path of a template.")
    loader = jinja2.FileSystemLoader([path.parent, PROMPTS])
    known = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True)
    return known.get_template(path.name)
