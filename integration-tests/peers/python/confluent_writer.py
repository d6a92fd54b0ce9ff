"""Produces numbers as fast as it may and prints each that the broker has acknowledged.

Ends when its standard input ends. Arguments: broker, topic, acks, first number, idempotent or not.
"""

import sys
import threading

from confluent_kafka import Producer

broker, topic, acks, first, idempotent = sys.argv[1:6]
producer = Producer(
    {
        "bootstrap.servers": broker,
        "broker.address.family": "v4",
        "acks": acks,
        "enable.idempotence": idempotent == "idempotent",
        "linger.ms": 1,
        "message.timeout.ms": 120000,
        "reconnect.backoff.max.ms": 500,
        "log_level": 2,
    }
)
stopping = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopping.set()), daemon=True).start()


def delivered(error, message):
    if error is None:
        sys.stdout.write(message.value().decode() + "\n")
    else:
        sys.stdout.write(f"failed {message.value().decode()} {error.name()}\n")
    sys.stdout.flush()


number = int(first)
while not stopping.is_set():
    if len(producer) > 200:
        producer.poll(0.01)
        continue
    producer.produce(topic, value=str(number), partition=0, on_delivery=delivered)
    producer.poll(0)
    number += 1
print("left", producer.flush(100), flush=True)
