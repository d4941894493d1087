"""The node over gRPC: TensorFlow Serving's services and the Open Inference Protocol's, beside its HTTP.

Not here: what texts and answers mean (`protocols.named`), answering (`models`).
Invariant: grpc is imported with `server`, and nothing imports that unless the node is told to speak gRPC.
"""
