"""Run a package: one file an engine, heavy imports inside."""

from tianti.runtimes.contract import Output, Runtime

__all__ = ["Output", "Runtime"]
