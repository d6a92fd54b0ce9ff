"""Creates nodes below /acked as fast as it may and prints the number of each that the server has acknowledged.

Ends when the server goes away. Arguments: address, first number, nodes in flight.
"""

import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

address, first, window = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = KazooClient(hosts=address, timeout=10)
client.start(timeout=30)
client.ensure_path("/acked")
free = threading.Semaphore(window)
over = threading.Event()
print("writing", flush=True)


def done(number):
    def callback(result):
        try:
            result.get_nowait()
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
        except KazooException:
            over.set()
        free.release()

    return callback


number = first
while not over.is_set():
    if not free.acquire(timeout=1):
        continue
    client.create_async(f"/acked/{number}", str(number).encode() * 20).rawlink(done(number))
    number += 1
