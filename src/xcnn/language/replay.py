"""Words from a language model that were kept: a page can be made again without the model."""

from pathlib import Path
from typing import Any

from xcnn.errors import UserError
from xcnn.language.chat import ChatDescriber, Render
from xcnn.language.replies import Question, Replies, Reply


class ReplayDescriber(ChatDescriber):
    """Replies that were kept, and no other: what they were made of can be made again without the model.

    Args:
        replies: file of replies, as `OpenAIDescriber` keeps them.
        settings: as of the describer that was asked; what says how a server is reached is not looked at.
    """

    provider = "replay"

    def __init__(self, replies: str | Path, model: str | None, render: Render, **settings: Any):
        for name in ("base_url", "timeout", "max_retries", "concurrency", "journal"):
            settings.pop(name, None)
        super().__init__(model, render, **settings)
        if not Path(replies).is_file():
            raise UserError(f"there is no file of replies {replies}; describer.replies=FILE names one.")
        self._replies = Replies(replies)

    def reply(self, question: Question) -> Reply:
        """The reply that was kept.

        Raises:
            UserError: this was never asked, or of another model, with other parameters or other pictures.
        """
        found = self._replies.get(question.key)
        if found is None:
            raise UserError(
                f"{self._replies.path} has no reply of {self.model} to this question ({question.key[:16]}): it was "
                "asked with another model, prompt, parameters or pictures. Ask the model: describer=openai."
            )
        return found
