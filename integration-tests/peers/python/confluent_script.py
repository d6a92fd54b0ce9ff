"""Drives a broker with confluent-kafka (librdkafka) and prints what it sees, one fact a line."""

import sys
import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

broker = sys.argv[1]
common = {"bootstrap.servers": broker, "broker.address.family": "v4"}
admin = AdminClient(common)


def outcome(name, futures):
    """Waits for each future and prints its error's name, or that there was none."""
    for key, future in futures.items():
        try:
            future.result(30)
            print(name, key, "done")
        except KafkaException as error:
            print(name, key, error.args[0].name(), "|", error.args[0].str())


def wait_until(what, condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            print("waited in vain for", what)
            return
        time.sleep(0.1)


# Topics.
outcome("create", admin.create_topics([NewTopic("py", num_partitions=3, replication_factor=1)]))
outcome("create again", admin.create_topics([NewTopic("py", num_partitions=3, replication_factor=1)]))
outcome("create badly", admin.create_topics([NewTopic("py!", num_partitions=1, replication_factor=1)]))
outcome(
    "validate only",
    admin.create_topics([NewTopic("py-not", num_partitions=1, replication_factor=1)], validate_only=True),
)
wait_until("the topic", lambda: len(admin.list_topics("py", timeout=10).topics["py"].partitions) == 3)
outcome("add partitions", admin.create_partitions([NewPartitions("py", 4)]))
outcome("remove partitions", admin.create_partitions([NewPartitions("py", 2)]))
wait_until("four partitions", lambda: len(admin.list_topics("py", timeout=10).topics["py"].partitions) == 4)
metadata = admin.list_topics("py", timeout=10)
print("brokers", sorted(metadata.brokers), "controller", metadata.controller_id)
for number, partition in sorted(metadata.topics["py"].partitions.items()):
    print("partition", number, "leader", partition.leader, "replicas", partition.replicas, "isrs", partition.isrs)

# Configuration.
resource = ConfigResource(ResourceType.TOPIC, "py")
resource.add_incremental_config(
    ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET)
)
outcome("alter config", {"py": admin.incremental_alter_configs([resource])[resource]})
wanted = ConfigResource(ResourceType.TOPIC, "py")
entries = admin.describe_configs([wanted])[wanted].result(30)
for name in ("retention.ms", "cleanup.policy", "segment.bytes", "compression.type"):
    entry = entries[name]
    print("config", name, entry.value, entry.source, entry.is_default, entry.is_sensitive)

# Produce: delivery reports come in order.
reports = []


def delivered(error, message):
    reports.append((error, message))


for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    producer = Producer({**common, "compression.type": codec, "linger.ms": 50, "enable.idempotence": True})
    for number in range(20):
        producer.produce(
            "py",
            value=f"{codec} {number}",
            key=str(number),
            partition=0,
            headers=[("codec", codec.encode()), ("none", None)],
            on_delivery=delivered,
        )
    print("left in the queue", codec, producer.flush(30))
print("delivered", len(reports), "errors", sum(1 for error, _ in reports if error))
print("offsets in order", [message.offset() for _, message in reports] == list(range(100)))
unknown = Producer({**common, "allow.auto.create.topics": False, "message.timeout.ms": 20000})
reports.clear()
unknown.produce("py", value="beyond", partition=99, on_delivery=delivered)
unknown.flush(30)
print("unknown partition", reports[0][0].name())

# Consume with a group, commit by hand, come back.
group = {**common, "group.id": "py-group", "auto.offset.reset": "earliest", "enable.auto.commit": False}


def consume(consumer, count):
    messages = []
    deadline = time.monotonic() + 40
    while len(messages) < count and time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            print("error", message.error().name())
            continue
        messages.append(message)
    return messages


consumer = Consumer(group)
consumer.subscribe(["py"])
messages = consume(consumer, 60)
print("read", len(messages), messages[0].value(), messages[-1].value(), messages[0].headers())
print("assignment", sorted((each.topic, each.partition) for each in consumer.assignment()))
consumer.commit(offsets=[TopicPartition("py", 0, messages[-1].offset() + 1)], asynchronous=False)
print("committed", [each.offset for each in consumer.committed([TopicPartition("py", p) for p in range(4)], 10)])
print("watermarks", consumer.get_watermark_offsets(TopicPartition("py", 0), timeout=10))
print("after all", [each.offset for each in consumer.offsets_for_times([TopicPartition("py", 0, 1)], timeout=10)])
consumer.close()
consumer = Consumer(group)
consumer.subscribe(["py"])
messages = consume(consumer, 40)
print("read on", len(messages), messages[0].value(), messages[-1].value())
consumer.close()

# Transactions: committed, aborted, with offsets, fenced.
def transactional(name):
    producer = Producer({**common, "transactional.id": name})
    producer.init_transactions(30)
    return producer


outcome("create", admin.create_topics([NewTopic("py-txn", num_partitions=2, replication_factor=1)]))
wait_until("leaders of py-txn", lambda: len(admin.list_topics("py-txn", timeout=10).topics["py-txn"].partitions) == 2)
producer = transactional("py-id")
for number, commit in enumerate((True, False, True)):
    producer.begin_transaction()
    for partition in range(2):
        producer.produce("py-txn", value=f"{number}-{partition}", partition=partition)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.flush(30)
        producer.abort_transaction(30)

reader = Consumer({**group, "group.id": "py-txn-group", "isolation.level": "read_committed"})
reader.subscribe(["py-txn"])
messages = consume(reader, 4)
print("committed", sorted(message.value() for message in messages))
producer.begin_transaction()
producer.produce("py-txn", value="with offsets", partition=0)
positions = reader.position(reader.assignment())
producer.send_offsets_to_transaction(positions, reader.consumer_group_metadata(), 30)
producer.commit_transaction(30)
print("sent offsets", [each.offset > 0 for each in reader.committed(reader.assignment(), 30)])
print("read on", [message.value() for message in consume(reader, 1)])
reader.close()

successor = transactional("py-id")
try:
    producer.begin_transaction()
    producer.produce("py-txn", value="zombie", partition=0)
    producer.commit_transaction(30)
    print("not fenced")
except KafkaException as error:
    print("fenced", error.args[0].name(), error.args[0].fatal())
successor.begin_transaction()
successor.produce("py-txn", value="successor", partition=1)
successor.commit_transaction(30)

watch = Consumer({**group, "group.id": "py-txn-watch", "isolation.level": "read_committed"})
watch.subscribe(["py-txn"])
messages = consume(watch, 6)
print("all committed", sorted(message.value() for message in messages))
watch.close()
outcome("delete", admin.delete_topics(["py-txn"], operation_timeout=30))

# Groups and offsets through the admin client.
listed = admin.list_consumer_groups(request_timeout=30).result()
print("groups", sorted(each.group_id for each in listed.valid if each.group_id.startswith("py")))
described = admin.describe_consumer_groups(["py-group"], request_timeout=30)["py-group"].result()
print("described", described.state.name, described.partition_assignor, len(described.members))
request = ConsumerGroupTopicPartitions("py-group", [TopicPartition("py", 0)])
offsets = admin.list_consumer_group_offsets([request])["py-group"].result(30)
print("group offsets", [(each.topic, each.partition, each.offset) for each in offsets.topic_partitions])
for name, spec in (("earliest", OffsetSpec.earliest()), ("latest", OffsetSpec.latest())):
    result = admin.list_offsets({TopicPartition("py", 0): spec})[TopicPartition("py", 0)].result(30)
    print("list offsets", name, result.offset)
cluster = admin.describe_cluster(request_timeout=30).result(30)
print("cluster", len(cluster.cluster_id), [node.id for node in cluster.nodes], cluster.controller.id)
result = admin.delete_records([TopicPartition("py", 0, 10)])[TopicPartition("py", 0, 10)].result(30)
print("delete records", result.low_watermark)
outcome("delete groups", admin.delete_consumer_groups(["py-group"], request_timeout=30))
outcome("delete", admin.delete_topics(["py"], operation_timeout=30))
outcome("delete again", admin.delete_topics(["py-not"], operation_timeout=30))
wait_until("the end of the topic", lambda: "py" not in admin.list_topics(timeout=10).topics)
print("topics that are left", [name for name in admin.list_topics(timeout=10).topics if name.startswith("py")])
