"""The one interface of everything that puts a filter into words."""

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tqdm import tqdm

from xcnn.language.evidence import FilterEvidence


@dataclass(frozen=True)
class Claim:
    """One statement of a description, in a form that `verify` can check.

    Attributes:
        kind: what it is about; the kinds that can be checked are listed in `xcnn.language.verify`.
        value: what it says; plain JSON.
    """

    kind: str
    value: Any


@dataclass(frozen=True)
class Description:
    """A text about one filter on one image, what it claims, and where it came from.

    Attributes:
        text: the words.
        claims: the checkable statements in the words.
        provider: the describer's name.
        model: the language model, or None where there is none.
        prompt_hash: SHA-256 of the prompt, or None where there is none.
        evidence_hash: `FilterEvidence.evidence_hash` of what was described.
    """

    text: str
    claims: tuple[Claim, ...]
    provider: str
    model: str | None
    prompt_hash: str | None
    evidence_hash: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return asdict(self) | {"claims": [asdict(claim) for claim in self.claims]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Description":
        """The description that `to_dict` wrote."""
        return cls(**{**values, "claims": tuple(Claim(**claim) for claim in values["claims"])})


class Describer(Protocol):
    """Puts a filter into words (sections 3.4 and 3.4.1)."""

    def describe(self, evidence: FilterEvidence) -> Description:
        """A description of this evidence and of nothing else."""
        ...


def describe_all(
    describer: Describer, evidence: Sequence[FilterEvidence], progress: str | None = None
) -> list[Description]:
    """Descriptions of all evidence, in its order, as many at a time as the describer says (its `concurrency`, or one).

    The first error ends it: what is under way is finished and what waits is dropped.

    Args:
        describer: what puts each into words.
        evidence: one filter on one image each.
        progress: title of a progress bar; None for none.
    """
    workers = getattr(describer, "concurrency", 1)
    with tqdm(total=len(evidence), desc=progress, disable=progress is None, leave=False) as bar:

        def describe(one: FilterEvidence) -> Description:
            found = describer.describe(one)
            bar.update()
            return found

        if workers <= 1:
            return [describe(one) for one in evidence]
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(describe, one) for one in evidence]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                pool.shutdown(cancel_futures=True)
    failed = next((each for each in futures if not each.cancelled() and each.exception()), None)
    return [each.result() for each in ([failed] if failed else futures)]
