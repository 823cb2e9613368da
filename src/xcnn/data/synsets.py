"""WordNet synsets as classes: an id such as n02123045 and its words, "tabby, tabby cat"."""

from collections import Counter
from collections.abc import Mapping, Sequence


def class_names(wnids: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """A short name for each class that no other has: the synset's first word, its id added where two share one.

    ImageNet has two cranes, the bird and the machine.
    """
    first = [words.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    count = Counter(first)
    return tuple(name if count[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(first, wnids, strict=True))
