"""What a publisher concludes from a fleet's reports: whether a rollout's ring goes on, waits or is halted."""

from tianti.fleet.advance import HEARD_S, Known, decide_step
from tianti.fleet.counts import count_fates, source_of
from tianti.fleet.devices import Device, Invitation, admit, believe, device_id, invite, trusted
from tianti.fleet.guard import Action, Count, Terms, Verdict, judge
from tianti.fleet.ledger import Fleet, Judged, Ledger, Met, Told
from tianti.fleet.plan import Plan, Step, next_step, parse_steps
from tianti.fleet.sqlite import SqliteLedger

__all__ = [
    "HEARD_S",
    "Action",
    "Count",
    "Device",
    "Fleet",
    "Invitation",
    "Judged",
    "Known",
    "Ledger",
    "Met",
    "Plan",
    "SqliteLedger",
    "Step",
    "Terms",
    "Told",
    "Verdict",
    "admit",
    "believe",
    "count_fates",
    "decide_step",
    "device_id",
    "invite",
    "judge",
    "next_step",
    "parse_steps",
    "source_of",
    "trusted",
]
