"""What a publisher concludes from a fleet's reports: whether a rollout's ring goes on, waits or is halted."""

from tianti.fleet.guard import Action, Count, Terms, Verdict, judge, merge
from tianti.fleet.plan import Plan, Step, next_step, parse_steps

__all__ = [
    "Action",
    "Count",
    "Plan",
    "Step",
    "Terms",
    "Verdict",
    "judge",
    "merge",
    "next_step",
    "parse_steps",
]
