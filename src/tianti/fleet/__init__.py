"""What a publisher concludes from a fleet's reports: whether a rollout's ring goes on, waits or is halted."""

from tianti.fleet.guard import Count, Step, Terms, Verdict, judge, merge

__all__ = ["Count", "Step", "Terms", "Verdict", "judge", "merge"]
