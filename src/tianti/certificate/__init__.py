"""Scores, operating points and the accuracy statement: fit, read, order, certify, recheck.

Not here: models, files, or which rung answers a request (`router`).
Invariant: numpy only, for the device reads scores with it; a row that orders or fits never certifies.
"""

from tianti.certificate.answers import NEVER, Answers, LadderAnswers, Outcome, agreement, decide, judged, some
from tianti.certificate.certify import audit_bound, certify, recheck, void_reason
from tianti.certificate.counts import smallest_n, wilson
from tianti.certificate.curves import Reliability, rejected_share, reliability, risk_coverage
from tianti.certificate.groups import Groups
from tianti.certificate.head import fit_head
from tianti.certificate.hints import Hinter, Hints, find_usual
from tianti.certificate.path import order_points
from tianti.certificate.score import FEATURES, REJECTED, UNUSABLE, Reading, Readings, read, read_many, read_rows
from tianti.certificate.watch import Watch

__all__ = [
    "FEATURES",
    "NEVER",
    "REJECTED",
    "UNUSABLE",
    "Answers",
    "Groups",
    "Hinter",
    "Hints",
    "LadderAnswers",
    "Outcome",
    "Reading",
    "Readings",
    "Reliability",
    "Watch",
    "agreement",
    "audit_bound",
    "certify",
    "decide",
    "find_usual",
    "fit_head",
    "judged",
    "order_points",
    "read",
    "read_many",
    "read_rows",
    "recheck",
    "rejected_share",
    "reliability",
    "risk_coverage",
    "smallest_n",
    "some",
    "void_reason",
    "wilson",
]
