"""A server that answers anything at once, to find what the load generator itself can do: python -m … PORT"""

import select
import socket
import sys

ANSWER = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\r\n{"label":"intent7","score":0.123}'
)


def main(port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    poll, clients = select.epoll(), {}
    poll.register(listening, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number == listening.fileno():
                client, _ = listening.accept()
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
            elif clients[number].recv(65536):
                clients[number].send(ANSWER)
            else:
                clients.pop(number).close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
