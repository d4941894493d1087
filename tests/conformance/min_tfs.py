"""Runs in an environment of its own: min-tfs-client, and the stubs of TensorFlow Serving that it brings, as they come.

Prints what a node answers as JSON. Arguments: the node's host and port.
"""

import json
import sys

import grpc
import numpy as np
from min_tfs_client.requests import TensorServingClient
from min_tfs_client.tensors import tensor_proto_to_ndarray
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
    regression_pb2,
)

host, port = sys.argv[1:]
client = TensorServingClient(host, int(port))
said: dict[str, object] = {}
for name, version in (("newest", None), ("numbered", 1)):
    outputs = client.predict_request("tiny", {"text": np.array(["lamp", "sonata"])}, 10, version).outputs
    said[name] = tensor_proto_to_ndarray(outputs["label"]).tolist()
    said[f"{name} scores"] = tensor_proto_to_ndarray(outputs["scores"]).shape
try:
    client.predict_request("other", {"text": np.array(["lamp"])}, 10)
except grpc.RpcError as error:
    said["other"] = error.code().name

channel = grpc.insecure_channel(f"{host}:{port}")
prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
classify = classification_pb2.ClassificationRequest()
classify.model_spec.name = "tiny"
classify.input.example_list.examples.add().features.feature["text"].bytes_list.value.append(b"lamp")
classes = prediction.Classify(classify, 10).result.classifications[0].classes
said["classes"] = [each.label for each in classes]
regress = regression_pb2.RegressionRequest(model_spec=classify.model_spec, input=classify.input)
said["regressions"] = [each.value for each in prediction.Regress(regress, 10).result.regressions]
many = inference_pb2.MultiInferenceRequest(input=classify.input)
for method in ("classify", "regress"):
    many.tasks.add(model_spec=classify.model_spec, method_name=f"tensorflow/serving/{method}")
said["tasks"] = [each.WhichOneof("result") for each in prediction.MultiInference(many, 10).results]
status = get_model_status_pb2.GetModelStatusRequest(model_spec=classify.model_spec)
versions = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status, 10).model_version_status
said["versions"] = [(each.version, each.state) for each in versions]
print(json.dumps(said))
