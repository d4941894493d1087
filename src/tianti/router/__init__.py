"""Which rung answers: operating points, breakers, one request's climb, and the node that all drivers share."""

from tianti.router.audits import Auditor
from tianti.router.climb import Answer, Ask, Outcome, Terms, climb, conclude
from tianti.router.control import AUDITS, Policy, Status
from tianti.router.door import Departure, beside
from tianti.router.egress import Egress
from tianti.router.journal import Journal
from tianti.router.node import Node
from tianti.router.policy import check_point, choose_point
from tianti.router.upstream import Remote, Upstream, connect, follow

__all__ = [
    "AUDITS",
    "Answer",
    "Ask",
    "Auditor",
    "Departure",
    "Egress",
    "Journal",
    "Node",
    "Outcome",
    "Policy",
    "Remote",
    "Status",
    "Terms",
    "Upstream",
    "beside",
    "check_point",
    "choose_point",
    "climb",
    "conclude",
    "connect",
    "follow",
]
