"""Messages on the wire, written by us with the fields that we use, and generated from that.

    python -m grpc_tools.protoc -I src --python_out=src src/tianti/serving/grpc/proto/oip.proto \\
        src/tianti/serving/grpc/proto/tfs.proto

grpcio-tools 1.80 makes them for protobuf 6.31 and later, 7 included; what a newer one makes needs a newer protobuf.

Not here: services; they are in `oip` and `tfs` beside this folder, under the names that clients ask for.
Invariant: the packages are ours (`tianti.oip`, `tianti.tfs`): two files with TensorFlow's names in one process clash.
"""
