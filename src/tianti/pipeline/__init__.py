"""Text in, a certified release out: stages, the run that executes and resumes them, the report."""

from tianti.pipeline.contract import Progress, Stage, StageContext, StageDone
from tianti.pipeline.workspace import RunRecord, Workspace

__all__ = ["Progress", "RunRecord", "Stage", "StageContext", "StageDone", "Workspace"]
