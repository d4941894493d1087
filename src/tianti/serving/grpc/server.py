"""The gRPC server of one node, in the node's own event loop.

    listening = await start_grpc(models, "127.0.0.1:8500")
    ...
    await listening.server.stop(grace=5.0)

Not here: what every call passes (`dispatch`), the services' methods (`oip`, `tfs`), answering (`models`).
Invariant: no message past MAX_BODY_BYTES is read.
"""

from typing import NamedTuple

from tianti.errors import UsageError, needs_extra
from tianti.protocols.infer import MAX_BODY_BYTES
from tianti.serving.access import Access
from tianti.serving.models import Models
from tianti.serving.oip import Repository
from tianti.serving.tls import Tls

with needs_extra("grpc"):
    import grpc

    from tianti.serving.grpc import oip, tfs
    from tianti.serving.grpc.dispatch import Gate, Handlers


class Listening(NamedTuple):
    """A server that answers, and its port."""

    server: grpc.aio.Server
    port: int


async def start_grpc(
    models: Models,
    address: str,
    *,
    access: Access | None = None,
    repository: Repository | None = None,
    tls: Tls | None = None,
    share_port: bool = False,
) -> Listening:
    """Begin to answer; the caller stops `server`, whose `stop(grace)` lets calls under way end.

    Args:
        models: what is asked.
        address: `host:port`; port 0 takes a free one.
        access: None: whoever reaches the port may ask.
        repository: what loads and unloads models; None: they stay as they are.
        tls: files, read for every connection, so that a renewed certificate needs no restart; None: no TLS.
        share_port: several processes listen on one port, and each call comes to one of them.

    Raises:
        UsageError: the port cannot be opened, or a file of `tls` cannot be used.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_BODY_BYTES),
            ("grpc.max_send_message_length", MAX_BODY_BYTES),
            ("grpc.so_reuseport", int(share_port)),
        ]
    )
    methods = [*oip.methods(models, repository), *tfs.methods(models)]
    server.add_generic_rpc_handlers((Handlers(methods, Gate(access), models),))
    try:
        port = server.add_secure_port(address, _credentials(tls)) if tls else server.add_insecure_port(address)
    except RuntimeError as error:
        cure = "choose another, or port 0" + (", and see that certificate and key belong together" if tls else "")
        raise UsageError(f"gRPC cannot listen on {address}: {error}; {cure}") from error
    await server.start()
    return Listening(server, port)


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    def read() -> grpc.ServerCertificateConfiguration:
        pair = tls.key.read_bytes(), tls.certificate.read_bytes()
        return grpc.ssl_server_certificate_configuration([pair], tls.client_ca and tls.client_ca.read_bytes())

    try:
        first = read()
    except OSError as error:
        raise UsageError(f"gRPC needs the certificate, its key and the callers' authority: {error}") from error
    return grpc.dynamic_ssl_server_credentials(first, read, require_client_authentication=tls.client_ca is not None)
