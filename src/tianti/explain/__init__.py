"""Why this answer: the words that decided, and the decision."""

from tianti.explain.explanation import Explanation, Here, Leaves, Own, Spared, Standard, explain
from tianti.explain.occlusion import ROWS, Scorer, occlude, reach, scorer_of
from tianti.explain.page import page
from tianti.explain.sentences import LANGUAGES, sentences
from tianti.explain.words import Word, alone, cut, without

__all__ = [
    "LANGUAGES",
    "ROWS",
    "Explanation",
    "Here",
    "Leaves",
    "Own",
    "Scorer",
    "Spared",
    "Standard",
    "Word",
    "alone",
    "cut",
    "explain",
    "occlude",
    "page",
    "reach",
    "scorer_of",
    "sentences",
    "without",
]
