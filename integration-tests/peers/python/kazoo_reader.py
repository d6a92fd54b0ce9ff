"""Prints the number of each node below /acked that holds what the writer gave it. Argument: address."""

import sys

from kazoo.client import KazooClient

client = KazooClient(hosts=sys.argv[1], timeout=10)
client.start(timeout=30)
results = [(name, client.get_async("/acked/" + name)) for name in client.get_children("/acked")]
for name, result in results:
    data, _ = result.get(timeout=30)
    print(name if data == name.encode() * 20 else f"{name} holds {data[:40]}")
client.stop()
client.close()
