"""A member of a consumer group: prints the value of each message, commits as it goes, and leaves at SIGTERM."""

import signal
import sys

kind, broker, group, topic, strategy = sys.argv[1:6]
running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGTERM, stop)


def confluent():
    from confluent_kafka import Consumer

    settings = {
        "bootstrap.servers": broker,
        "broker.address.family": "v4",
        "group.id": group,
        "session.timeout.ms": 6000,
        "auto.commit.interval.ms": 200,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": strategy,
    }
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    while running:
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            print(message.value().decode(), flush=True)
    consumer.close()


def kafka_python():
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker,
        group_id=group,
        session_timeout_ms=6000,
        heartbeat_interval_ms=1000,
        auto_commit_interval_ms=200,
        auto_offset_reset="earliest",
    )
    while running:
        for messages in consumer.poll(timeout_ms=200).values():
            for message in messages:
                print(message.value.decode(), flush=True)
    consumer.close()


{"confluent": confluent, "kafka-python": kafka_python}[kind]()
