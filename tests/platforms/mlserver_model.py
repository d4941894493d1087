"""The model that MLServer holds in test_mlserver.py: an ONNX file of a release's cloud, tokens in and logits out.

Runs in MLServer's own environment, without tianti.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Held(MLModel):
    async def load(self) -> bool:
        self._session = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        ids = NumpyCodec.decode_input(payload.inputs[0]).astype(np.int64)
        logits = self._session.run(None, {"input_ids": ids})[0]
        output = NumpyCodec.encode_output("logits", logits)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
