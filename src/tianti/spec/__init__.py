"""What is asked (LadderSpec) and what travels (Request, Prediction, Decision, Certificate)."""

from tianti.spec.certificate import Certificate, GroupRisk, Level, Risk, ScoreHead, Tested, Usual
from tianti.spec.endpoint import Endpoint, EndpointInput
from tianti.spec.records import (
    DEGRADED,
    TIERS,
    Decision,
    Prediction,
    Priority,
    Probabilities,
    Reason,
    Request,
    Role,
    Said,
    Tier,
)
from tianti.spec.units import percent

__all__ = [
    "DEGRADED",
    "TIERS",
    "Certificate",
    "Decision",
    "Endpoint",
    "EndpointInput",
    "GroupRisk",
    "Level",
    "Prediction",
    "Priority",
    "Probabilities",
    "Reason",
    "Request",
    "Risk",
    "Role",
    "Said",
    "ScoreHead",
    "Tested",
    "Tier",
    "Usual",
    "percent",
]
