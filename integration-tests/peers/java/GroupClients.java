import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.IntegerSerializer;

/**
 * Java consumers in groups: every assignor, static members, transactional offsets. Prints what each
 * group came to, without what depends on chance.
 *
 * Usage: GroupClients HOST:PORT
 */
public class GroupClients {
    static final int PARTITIONS = 6;
    static final int RECORDS = 60;
    static String bootstrap;

    /** A consumer and what it has read. */
    static class Reader implements AutoCloseable {
        final KafkaConsumer<Integer, Integer> consumer;
        final TreeMap<Integer, Integer> read = new TreeMap<>();

        Reader(String group, String assignor, String instance, String isolation) {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            properties.put("group.id", group);
            properties.put("key.deserializer", IntegerDeserializer.class.getName());
            properties.put("value.deserializer", IntegerDeserializer.class.getName());
            properties.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
            properties.put("auto.offset.reset", "earliest");
            properties.put("enable.auto.commit", "false");
            properties.put("heartbeat.interval.ms", "200");
            properties.put("session.timeout.ms", "30000");
            properties.put("isolation.level", isolation);
            if (instance != null) {
                properties.put("group.instance.id", instance);
            }
            consumer = new KafkaConsumer<>(properties);
            consumer.subscribe(List.of("numbers"));
        }

        void poll() {
            for (ConsumerRecord<Integer, Integer> record : consumer.poll(Duration.ofMillis(50))) {
                read.merge(record.value(), 1, Integer::sum);
            }
            consumer.commitSync();
        }

        int owned() {
            return consumer.assignment().size();
        }

        @Override
        public void close() {
            consumer.close();
        }
    }

    static void until(String what, List<Reader> readers, BooleanSupplier done) {
        long limit = System.nanoTime() + 90_000_000_000L;
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > limit) {
                throw new IllegalStateException("not in time: " + what);
            }
            for (Reader reader : readers) {
                try {
                    reader.poll();
                } catch (org.apache.kafka.clients.consumer.CommitFailedException
                         | org.apache.kafka.common.errors.RebalanceInProgressException error) {
                    // A rebalance came first; the next poll joins it.
                }
            }
        }
    }

    /** Owned partitions of all, each by one. */
    static boolean shared(int each, Reader... readers) {
        Set<TopicPartition> all = new TreeSet<>((a, b) -> a.partition() - b.partition());
        int count = 0;
        for (Reader reader : readers) {
            if (reader.owned() != each) {
                return false;
            }
            all.addAll(reader.consumer.assignment());
            count += reader.owned();
        }
        return all.size() == PARTITIONS && count == PARTITIONS;
    }

    static void assignors(Admin admin) throws Exception {
        for (String assignor : List.of("RangeAssignor", "RoundRobinAssignor", "StickyAssignor",
            "CooperativeStickyAssignor")) {
            String group = "of-" + assignor;
            try (Reader a = new Reader(group, assignor, null, "read_uncommitted")) {
                until("alone", List.of(a), () -> shared(PARTITIONS, a) && a.read.size() == RECORDS);
                try (Reader b = new Reader(group, assignor, null, "read_uncommitted")) {
                    until("two", List.of(a, b), () -> shared(3, a, b));
                    try (Reader c = new Reader(group, assignor, null, "read_uncommitted")) {
                        until("three", List.of(a, b, c), () -> shared(2, a, b, c));
                    }
                    until("two again", List.of(a, b), () -> shared(3, a, b));
                }
                until("alone again", List.of(a), () -> shared(PARTITIONS, a));
                System.out.println(assignor + " read " + a.read.size() + " once " + isOnce(a));
            }
            describe(admin, group);
        }
    }

    static boolean isOnce(Reader reader) {
        return reader.read.values().stream().allMatch(times -> times == 1);
    }

    static void describe(Admin admin, String group) throws Exception {
        ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
        Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group)
            .partitionsToOffsetAndMetadata().get();
        long sum = offsets.values().stream().mapToLong(OffsetAndMetadata::offset).sum();
        System.out.println(group + " " + described.state() + " " + described.members().size() + " members, "
            + offsets.size() + " offsets, sum " + sum);
    }

    static void staticMembers(Admin admin) throws Exception {
        String assignor = "CooperativeStickyAssignor";
        Reader a = new Reader("static", assignor, "one", "read_uncommitted");
        Reader b = new Reader("static", assignor, "two", "read_uncommitted");
        until("both", List.of(a, b), () -> shared(3, a, b) && a.read.size() + b.read.size() >= RECORDS);
        int generation = a.consumer.groupMetadata().generationId();
        Set<TopicPartition> owned = b.consumer.assignment();
        b.close();
        Reader again = new Reader("static", assignor, "two", "read_uncommitted");
        until("the second is back", List.of(a, again), () -> again.owned() == 3);
        System.out.println("static: same partitions " + owned.equals(again.consumer.assignment())
            + ", same generation " + (generation == again.consumer.groupMetadata().generationId()));
        describe(admin, "static");
        Reader fenced = new Reader("static", assignor, "two", "read_uncommitted");
        until("the usurper", List.of(fenced), () -> fenced.owned() == 3);
        try {
            long limit = System.nanoTime() + 60_000_000_000L;
            while (System.nanoTime() < limit) {
                again.poll();
            }
            System.out.println("static: never fenced");
        } catch (org.apache.kafka.common.errors.FencedInstanceIdException error) {
            System.out.println("static: fenced");
        }
        again.consumer.close(Duration.ZERO);
        fenced.close();
        a.close();
        var removed = admin.removeMembersFromConsumerGroup("static",
            new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions());
        removed.all().get();
        describe(admin, "static");
    }

    /** Offsets that are sent with a transaction: only what is committed is seen. */
    static void transactions(Admin admin) throws Exception {
        Map<String, Object> properties = new HashMap<>();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("transactional.id", "copier");
        properties.put("key.serializer", IntegerSerializer.class.getName());
        properties.put("value.serializer", IntegerSerializer.class.getName());
        try (KafkaProducer<Integer, Integer> producer = new KafkaProducer<>(properties);
             Reader reader = new Reader("copies", "RangeAssignor", null, "read_committed")) {
            producer.initTransactions();
            until("the copier's partitions", List.of(reader), () -> shared(PARTITIONS, reader));
            for (int round = 0; round < 6; round++) {
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                offsets.put(new TopicPartition("numbers", round), new OffsetAndMetadata(round + 1, "round " + round));
                producer.send(new ProducerRecord<>("copies", round, round));
                producer.sendOffsetsToTransaction(offsets, reader.consumer.groupMetadata());
                if (round % 3 == 2) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
            List<String> seen = new ArrayList<>();
            admin.listConsumerGroupOffsets("copies").partitionsToOffsetAndMetadata().get().entrySet().stream()
                .sorted((a, b) -> a.getKey().partition() - b.getKey().partition())
                .forEach(entry -> seen.add(entry.getKey().partition() + "=" + entry.getValue().offset()
                    + " " + entry.getValue().metadata()));
            System.out.println("transactional offsets " + seen);
        }
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic("numbers", PARTITIONS, (short) 1),
                new NewTopic("copies", 1, (short) 1))).all().get();
            Map<String, Object> properties = new HashMap<>();
            properties.put("bootstrap.servers", bootstrap);
            properties.put("key.serializer", IntegerSerializer.class.getName());
            properties.put("value.serializer", IntegerSerializer.class.getName());
            try (KafkaProducer<Integer, Integer> producer = new KafkaProducer<>(properties)) {
                for (int i = 0; i < RECORDS; i++) {
                    producer.send(new ProducerRecord<>("numbers", i % PARTITIONS, i, i)).get();
                }
            }
            assignors(admin);
            staticMembers(admin);
            transactions(admin);
        }
        System.out.println("end of the script");
    }
}
