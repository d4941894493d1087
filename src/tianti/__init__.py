"""Tianti (天梯): a ladder of language models from the device to the cloud, under one accuracy certificate.

    from tianti import load

    with load("latest", upstream="http://edge:8081") as ladder:
        answer = ladder.predict("turn off the kitchen light")
        print(answer.label, answer.tier, answer.decision.reason)

Importing this stays light: no engine, no network library, nothing of training.
"""

import os

# ONNX Runtime 1.31 keeps a device id and a database of its use in the home directory, to be sent to its maker: not from
# our devices, unless the program has said otherwise. It reads this when it is imported, which is later than here
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from tianti.device import Ladder, Trust, load

__all__ = ["Ladder", "Trust", "__version__", "load"]

__version__ = "0.1.0"
