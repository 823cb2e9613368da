"""A client for any server with OpenAI's chat completions that takes pictures: hosted, vLLM, llama.cpp, Ollama.

Servers differ in what they pass over in silence (a picture for a model without eyes, the schema of a reply, an unknown
model), so that nothing is assumed: pictures are tried out first, and every reply is checked. An answered question is
kept and never asked again; whatever cannot be answered ends the run with one message.
"""

import base64
import io
import os
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ValidationError

from xcnn.errors import UserError
from xcnn.language.chat import ChatDescriber, Render
from xcnn.language.reading import read_structured
from xcnn.language.replies import Picture, Question, Replies, Reply

if TYPE_CHECKING:
    import openai

KEY = "OPENAI_API_KEY"
SHOWN = 300  # characters of a server's own message


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


class OpenAIDescriber(ChatDescriber):
    """Asks a server, as many questions at a time as `concurrency`, and keeps its replies.

    Before the first question it asks twice for a word, without and with a picture: the tokens of the prompt must rise.
    The key comes from the environment (`OPENAI_API_KEY`) and goes nowhere but to the server.

    Args:
        model: as the server names it.
        render: as of `ChatDescriber`, as are `settings`.
        base_url: up to `/v1`.
        timeout: seconds that a reply may take.
        max_retries: how often a question is put again where the server is busy, fails or does not answer, after waits
            that grow, or of as long as it asks for.
        concurrency: questions at a time.
        journal: file in which replies are kept.

    Raises:
        UserError: the package `openai` is missing, or as of `ChatDescriber`. Whatever else goes wrong is said with the
            first question.
    """

    provider = "openai"

    def __init__(
        self,
        model: str | None,
        render: Render,
        base_url: str,
        journal: str | Path,
        timeout: float = 60.0,
        max_retries: int = 4,
        concurrency: int = 4,
        **settings: Any,
    ):
        super().__init__(model, render, **settings)
        try:
            import openai
        except ImportError as error:
            raise UserError("the package openai is missing: pip install 'xcnn[words]'.") from error
        self._openai = openai
        self._key = os.environ.get(KEY, "")
        self._client = openai.OpenAI(
            api_key=self._key or "none", base_url=base_url, timeout=timeout, max_retries=max_retries
        )
        self._url, self._timeout, self._attempts = base_url, timeout, max_retries + 1
        self.concurrency = concurrency
        self._replies = Replies(journal)
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._connected = False
        self.counts = {"asked": 0, "kept": 0, "prompt_tokens": 0, "completion_tokens": 0}

    def reply(self, question: Question) -> Reply:
        """The reply that was kept, or else the server's, which is kept before it is returned.

        Raises:
            UserError: the server cannot be reached, refuses, fails or answers what is no whole reply.
        """
        key = question.key
        with self._lock:
            own = self._locks[key]
        with own:  # of two threads with the same question, the second finds the reply of the first
            found = self._replies.get(key)
            if found is not None:
                with self._lock:
                    self.counts["kept"] += 1
                return found
            self._connect()
            found = self._ask(question)
            self._replies.add(key, found)
            with self._lock:
                self.counts["asked"] += 1
                self.counts["prompt_tokens"] += found.prompt_tokens or 0
                self.counts["completion_tokens"] += found.completion_tokens or 0
            return found

    def _connect(self) -> None:
        """See once that pictures reach the model, and that the server keeps to a schema if it is to.

        Raises:
            UserError: they do not, it does not, or it says nothing of tokens.
        """
        with self._lock:
            if self._connected:
                return
            text = "Which colour has the picture?"
            blank = np.full((224, 224, 3), (255, 0, 0), np.uint8)
            bare, seen = (
                self._ask(Question(self.model, self.parameters, text, pictures), whole=False)
                for pictures in ((), (blank,))
            )
            if bare.prompt_tokens is None or seen.prompt_tokens is None:
                raise UserError(f"{self._url} says nothing of tokens, so that it cannot be seen that pictures arrive.")
            if seen.prompt_tokens <= bare.prompt_tokens:
                raise UserError(
                    f"{self.model} at {self._url} does not look at pictures: a prompt has {bare.prompt_tokens} tokens "
                    f"without and {seen.prompt_tokens} with one. Choose one that takes pictures: describer.model=NAME."
                )
            if self.structured and read_structured(seen.text, ()) is None:
                raise UserError(
                    f"{self._url} passes over the schema for replies (it said {seen.text[:SHOWN]!r}): "
                    "describer.structured=false."
                )
            self._connected = True

    def _ask(self, question: Question, whole: bool = True) -> Reply:
        content: list[dict[str, Any]] = [{"type": "text", "text": question.text}]
        content += [{"type": "image_url", "image_url": {"url": _data_uri(picture)}} for picture in question.pictures]
        messages: Any = [{"role": "user", "content": content}]
        api = self._openai
        try:
            raw = self._client.chat.completions.with_raw_response.create(
                model=question.model, messages=messages, **question.parameters
            )
            body = raw.http_response.text
        except api.APITimeoutError as error:
            raise self._failed(
                f"did not answer within {self._timeout:g} s, {self._attempts} times",
                "describer.timeout=SECONDS gives it longer, describer.concurrency=1 less to do",
            ) from error
        except api.APIConnectionError as error:
            cause = self._without_key(str(error.__cause__ or error))
            raise self._failed(
                f"cannot be reached, or broke off ({cause})", "start it, or name another: describer.base_url=URL"
            ) from error
        except api.APIStatusError as error:
            raise self._refused(error) from error
        return self._checked(body, whole)

    def _refused(self, error: "openai.APIStatusError") -> UserError:
        status, said = error.status_code, self._without_key(error.response.text)[:SHOWN]
        remedy = {
            401: f"set {KEY} in the environment",
            403: f"set {KEY} in the environment to a key that may use {self.model}",
            404: "look at describer.base_url (it ends in /v1, mostly) and describer.model",
            422: "it does not know a field: describer.structured=false, or another server",
            429: f"it was asked {self._attempts} times: describer.concurrency=1, or run it again later",
        }.get(
            status, "look at describer.model" if status < 500 else f"it failed {self._attempts} times: see its own log"
        )
        return self._failed(f"answers {status} ({said})", remedy)

    def _failed(self, what: str, remedy: str) -> UserError:
        return UserError(f"{self._url} {what}; {remedy}. Replies so far are kept in {self._replies.path}.")

    def _without_key(self, text: str) -> str:
        text = " ".join(text.split())
        return text.replace(self._key, "(the key)") if self._key else text

    def _checked(self, body: str, whole: bool) -> Reply:
        try:
            completion = _Completion.model_validate_json(body)
        except ValidationError as error:
            said = self._without_key(body)[:SHOWN]
            raise self._failed(f"answers what is no completion ({said})", "see its own log") from error
        if not completion.choices:
            raise self._failed("answers without any choice", "see its own log")
        choice, usage = completion.choices[0], completion.usage or _Usage()
        said = (choice.message.content or "").strip()
        if whole and choice.finish_reason == "length":
            limit = self.parameters["max_tokens"]
            raise self._failed(f"cut its reply off at {limit} tokens", "describer.max_tokens=NUMBER allows more")
        if whole and not said:
            raise self._failed("replies nothing", "try another prompt or model")
        return Reply(said, usage.prompt_tokens, usage.completion_tokens)


def _data_uri(picture: Picture) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
