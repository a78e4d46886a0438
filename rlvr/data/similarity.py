"""Which texts are most like another one: Okapi BM25, without a package.

Robertson and Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond".
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

WORD = re.compile(r"\w+")
SATURATION = 1.5  # k1: how soon a repeated word adds nothing more
LENGTH = 0.75  # b: how far long texts are discounted


class BM25:
    """Scores of fixed texts for a query; words in lower case, digits among them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(words(text)) for text in texts]
        lengths = [counts.total() for counts in self._counts]
        mean = sum(lengths) / max(1, len(lengths))
        self._discounts = [1 - LENGTH + LENGTH * length / (mean or 1) for length in lengths]
        self._found_in = Counter(word for counts in self._counts for word in counts)

    def __call__(self, query: str) -> list[float]:
        """A score for each text; 0 where it has no word of the query."""
        asked = [word for word in set(words(query)) if word in self._found_in]
        rarity = {word: self._rarity(word) for word in sorted(asked)}
        return [
            sum(weight * self._saturated(counts[word], discount) for word, weight in rarity.items())
            for counts, discount in zip(self._counts, self._discounts, strict=True)
        ]

    def _rarity(self, word: str) -> float:
        found, texts = self._found_in[word], len(self._counts)
        return math.log(1 + (texts - found + 0.5) / (found + 0.5))

    @staticmethod
    def _saturated(count: int, discount: float) -> float:
        return count * (SATURATION + 1) / (count + SATURATION * discount)


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())
