"""Scores, operating points and the accuracy statement: fit, read, order, certify, recheck.

Not here: models, files, or which rung answers a request (`router`).
Invariant: numpy only, for the device reads scores with it; a row that orders or fits never certifies.
"""

from tianti.certificate.answers import NEVER, Answers, LadderAnswers, Outcome, decide
from tianti.certificate.certify import certify, recheck, void_reason
from tianti.certificate.counts import smallest_n, wilson
from tianti.certificate.curves import Reliability, rejected_share, reliability, risk_coverage
from tianti.certificate.head import fit_head
from tianti.certificate.path import order_points
from tianti.certificate.score import FEATURES, REJECTED, UNUSABLE, Reading, Readings, read, read_many

__all__ = [
    "FEATURES",
    "NEVER",
    "REJECTED",
    "UNUSABLE",
    "Answers",
    "LadderAnswers",
    "Outcome",
    "Reading",
    "Readings",
    "Reliability",
    "certify",
    "decide",
    "fit_head",
    "order_points",
    "read",
    "read_many",
    "recheck",
    "rejected_share",
    "reliability",
    "risk_coverage",
    "smallest_n",
    "void_reason",
    "wilson",
]
