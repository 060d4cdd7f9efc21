# SPDX-License-Identifier: Apache-2.0
"""A collector that keeps nothing: `collector.py up` acknowledges, `collector.py blackhole` accepts and never answers.

It prints its port first.
"""

import collections
import socket
import sys
import threading

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
KEPT = 500  # connections of the black hole; older ones are closed, so that it does not run out of them


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    held = collections.deque(maxlen=KEPT)
    while True:
        connection, _ = listener.accept()
        if sys.argv[1] == "blackhole":
            held.append(connection)
        else:
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    with connection, connection.makefile("rb") as stream:
        while stream.readline():
            length = 0
            while (line := stream.readline().strip().lower()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name == b"content-length" else length
            stream.read(length)
            connection.sendall(ANSWER)


main()
