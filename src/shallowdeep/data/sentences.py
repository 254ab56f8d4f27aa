"""Texts that are parts of others: which must be held out together.

The training rows of SST-2 are phrases, most of which stand word for word inside other rows. A sentence that is held out
while its phrases are trained on measures what was learned by heart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence


def containing(texts: Sequence[str]) -> list[list[int]]:
    """Return for each text those whole ones, in no other text, that hold it word for word; itself where it is whole.

    Words are what spaces part. Equal texts count as one whole text: the first.

    Args:
        texts: N of them.

    Returns:
        N lists of places.
    """
    words = [text.split() for text in texts]
    frequency = Counter(word for row in words for word in set(row))
    order = sorted(range(len(texts)), key=lambda place: (-len(words[place]), place))
    wholes: dict[str, list[int]] = defaultdict(list)  # by each of their words
    joined = [f" {' '.join(row)} " for row in words]
    found: list[list[int]] = [[] for _ in texts]
    for place in order:
        rarest = min(words[place], key=frequency.__getitem__, default="")
        holders = [whole for whole in wholes[rarest] if joined[place] in joined[whole]]
        found[place] = holders or [place]
        if not holders:
            for word in set(words[place]) or {""}:
                wholes[word].append(place)
    return found
