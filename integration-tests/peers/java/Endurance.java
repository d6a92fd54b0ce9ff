import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Clients of every kind that work against one broker, whatever is done to that broker meanwhile, and a history of what
 * each tried and was told. A record is known by its number; key, value and time follow from it.
 *
 * Usage: Endurance HOST:PORT SEED REQUESTS-IN-FLIGHT HISTORY-FILE; commands on standard input, each answered by one line:
 *   start WHAT...   makes the topics and starts the actors (plain idem txn copy group table short)
 *   pause           stops the writers between two pieces of work; then waits until no transaction is open and the
 *                   copiers have copied everything, and stops the rest
 *   resume          lets all go on
 *   dump FILE       writes what each topic holds, to both isolation levels, and what each group has committed
 *   flush           answers when the history is on disk
 *   quit
 */
public class Endurance {
    static final long PRODUCER = 1_000_000_000L;
    static final int PARTITIONS = 3;
    static final Duration STEP = Duration.ofMillis(100);
    static final long LIMIT_MS = 150_000;
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final long BASE_TIME = System.currentTimeMillis() - 600_000;

    static String bootstrap;
    static long seed;
    static String inFlight;
    static BufferedWriter history;
    static Admin admin;
    static final Set<String> TOPICS = new TreeSet<>();
    static final List<Actor> ACTORS = new ArrayList<>();

    static synchronized void tell(Object... words) {
        try {
            for (int i = 0; i < words.length; i++) {
                if (i > 0) {
                    history.write(' ');
                }
                history.write(String.valueOf(words[i]));
            }
            history.write('\n');
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    static String oneWord(Throwable error) {
        Throwable cause = error instanceof ExecutionException && error.getCause() != null ? error.getCause() : error;
        String text = cause.getClass().getSimpleName() + ":" + cause.getMessage();
        return text.replaceAll("\\s+", "_");
    }

    // What a record of a number is made of.

    static byte[] key(String topic, long number) {
        long keys = topic.equals("table") ? 40 : 1000;
        return ("k" + (number * 31) % keys).getBytes(StandardCharsets.UTF_8);
    }

    static byte[] value(String topic, long number) {
        if (topic.equals("table") && number % 11 == 0) {
            return null;
        }
        byte[] bytes = new byte[20 + (int) (number * 7919 % 400)];
        Arrays.fill(bytes, (byte) ('a' + number % 23));
        byte[] head = (number + ".").getBytes(StandardCharsets.UTF_8);
        System.arraycopy(head, 0, bytes, 0, head.length);
        return bytes;
    }

    static int partition(String topic, long number) {
        return topic.equals("table") ? (int) ((number * 31) % 40 % PARTITIONS) : (int) (number / 5 % PARTITIONS);
    }

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, long number) {
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, BASE_TIME + number % PRODUCER,
            key(topic, number), value(topic, number));
        record.headers().add("n", Long.toString(number).getBytes(StandardCharsets.UTF_8));
        return record;
    }

    static ProducerRecord<byte[], byte[]> record(String topic, long number) {
        return record(topic, partition(topic, number), number);
    }

    /** Its number, or what is wrong with it. */
    static String numberOf(ConsumerRecord<byte[], byte[]> record) {
        Header header = record.headers().lastHeader("n");
        if (header == null) {
            return "no-header";
        }
        long number = Long.parseLong(new String(header.value(), StandardCharsets.UTF_8));
        // The copies keep the key and value that they had in the topic they come from.
        if (!Arrays.equals(record.key(), key(record.topic(), number))) {
            return number + "-wrong-key";
        }
        if (!Arrays.equals(record.value(), value(record.topic(), number))) {
            return number + "-wrong-value";
        }
        return record.timestamp() == BASE_TIME + number % PRODUCER ? Long.toString(number) : number + "-wrong-time";
    }

    // Clients.

    static Properties common() {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("reconnect.backoff.ms", "50");
        p.put("reconnect.backoff.max.ms", "300");
        p.put("retry.backoff.ms", "50");
        p.put("request.timeout.ms", "15000");
        p.put("metadata.max.age.ms", "5000");
        return p;
    }

    static KafkaProducer<byte[], byte[]> producer(String... more) {
        Properties p = common();
        p.put("delivery.timeout.ms", "300000");
        p.put("max.block.ms", "300000");
        p.put("linger.ms", "3");
        p.put("max.in.flight.requests.per.connection", inFlight);
        for (int i = 0; i < more.length; i += 2) {
            p.put(more[i], more[i + 1]);
        }
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(String... more) {
        Properties p = common();
        p.put("enable.auto.commit", "false");
        p.put("auto.offset.reset", "earliest");
        p.put("default.api.timeout.ms", "120000");
        for (int i = 0; i < more.length; i += 2) {
            p.put(more[i], more[i + 1]);
        }
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** One thread that does one piece of work after the other and can be stopped between two. */
    abstract static class Actor extends Thread {
        final Random random;
        final String name;
        final boolean writes;
        private boolean stop;
        private boolean stopped;

        Actor(String name, boolean writes) {
            super(name);
            this.name = name;
            this.writes = writes;
            random = new Random(seed * 1_000_003 + name.hashCode());
            setDaemon(true);
        }

        abstract void work() throws Exception;

        /** What is under way ends; called again and again while stopped, so that members of groups go on polling. */
        void settle() throws Exception { }

        synchronized void order(boolean stop) {
            this.stop = stop;
            if (!stop) {
                stopped = false;
            }
            notifyAll();
        }

        private synchronized boolean ordered() {
            return stop;
        }

        private synchronized void stopped() throws InterruptedException {
            stopped = stop;
            notifyAll();
            if (stop) {
                wait(50);
            }
        }

        synchronized boolean awaitStop(long deadline) throws InterruptedException {
            while (!stopped && System.currentTimeMillis() < deadline) {
                wait(50);
            }
            return stopped;
        }

        @Override
        public void run() {
            try {
                while (true) {
                    if (ordered()) {
                        settle();
                        stopped();
                    } else {
                        work();
                    }
                }
            } catch (Throwable e) {
                e.printStackTrace();
                tell("died", name, oneWord(e));
            }
        }
    }

    /** Polls without reading, for a member of a group that rests. */
    static void stayIn(KafkaConsumer<byte[], byte[]> consumer) {
        if (consumer != null) {
            consumer.pause(consumer.assignment());
            consumer.poll(STEP);
            consumer.resume(consumer.assignment());
        }
    }

    /** Writes its numbers to a topic, many under way at once; the history has where each was put. */
    static class Writer extends Actor {
        final String topic;
        final KafkaProducer<byte[], byte[]> producer;
        final Semaphore room = new Semaphore(200);
        final int pace;
        long next;

        Writer(String topic, int index, int pace, String... config) {
            super(topic + "-" + index, true);
            this.topic = topic;
            this.pace = pace;
            producer = producer(config);
            next = index * PRODUCER;
        }

        @Override
        void work() throws Exception {
            int burst = 1 + random.nextInt(30);
            for (int i = 0; i < burst; i++) {
                long number = next++;
                room.acquire();
                producer.send(record(topic, number), (metadata, error) -> {
                    room.release();
                    if (error == null) {
                        tell("ack", topic, metadata.partition(), metadata.offset(), number);
                    } else {
                        tell("failed", topic, number, oneWord(error));
                    }
                });
            }
            Thread.sleep(random.nextInt(pace));
        }

        @Override
        void settle() {
            producer.flush();
        }
    }

    /** Deletes records from the front of its topic now and then. */
    static class Shortener extends Writer {
        final Map<Integer, Long> ends = Collections.synchronizedMap(new HashMap<>());

        Shortener() {
            super("short", 0, 60, "acks", "all", "compression.type", "lz4");
        }

        @Override
        void work() throws Exception {
            super.work();
            if (random.nextInt(40) == 0) {
                producer.flush();
                int partition = random.nextInt(PARTITIONS);
                TopicPartition at = new TopicPartition(topic, partition);
                try {
                    long end = admin.listOffsets(Map.of(at, OffsetSpec.latest()))
                        .partitionResult(at).get().offset();
                    long begin = admin.listOffsets(Map.of(at, OffsetSpec.earliest()))
                        .partitionResult(at).get().offset();
                    long low = begin + (end - begin) / 3;
                    tell("deletes", topic, partition, low);
                    long told = admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(low)))
                        .lowWatermarks().get(at).get().lowWatermark();
                    tell("deleted", topic, partition, told);
                } catch (ExecutionException e) {
                    tell("note", name, oneWord(e));
                }
            }
        }
    }

    /** Transactions over two topics: most committed, some aborted, some (of one kind) left to their timeout. */
    static class Transactor extends Actor {
        final int index;
        final boolean leaves;
        KafkaProducer<byte[], byte[]> producer;
        int transaction;

        Transactor(int index, boolean leaves) {
            super("txn-" + index, true);
            this.index = index;
            this.leaves = leaves;
        }

        void open() {
            String id = leaves ? "leaves-" + index + "-" + transaction : "txn-" + index;
            producer = producer("transactional.id", id, "transaction.timeout.ms", leaves ? "4000" : "600000",
                "compression.type", CODECS[index % CODECS.length]);
            producer.initTransactions();
        }

        void drop() {
            // Without a graceful end, which would abort.
            producer.close(Duration.ZERO);
            producer = null;
        }

        @Override
        void work() throws Exception {
            if (producer == null) {
                open();
            }
            transaction++;
            tell("begin", index, transaction);
            int count = 1 + random.nextInt(8);
            boolean commit = random.nextInt(10) < 7;
            boolean leave = leaves && random.nextInt(3) == 0;
            boolean ending = false;
            String outcome;
            try {
                producer.beginTransaction();
                for (int i = 0; i < count; i++) {
                    long number = index * PRODUCER + transaction * 100L + i;
                    String topic = i % 3 == 2 ? "side" : "txn";
                    producer.send(record(topic, i % PARTITIONS, number), (metadata, error) -> {
                        if (error == null) {
                            tell("ack", topic, metadata.partition(), metadata.offset(), number);
                        }
                    });
                    if (random.nextInt(4) == 0) {
                        Thread.sleep(random.nextInt(40));
                    }
                }
                if (leave) {
                    producer.flush();
                    drop();
                    tell("aborted", index, transaction, "left");
                    return;
                }
                if (random.nextInt(4) == 0) {
                    producer.flush();
                }
                if (commit) {
                    tell("commits", index, transaction, count);
                    ending = true;
                    producer.commitTransaction();
                    outcome = "committed";
                } else {
                    producer.abortTransaction();
                    outcome = "aborted";
                }
            } catch (KafkaException e) {
                // Only a transaction with a short timeout may be aborted by the broker.
                tell(leaves ? "note" : "failed", name, ending ? "commit" : "work", oneWord(e));
                drop();
                if (!leaves) {
                    // The same id again: the coordinator settles the former transaction first.
                    open();
                }
                outcome = ending ? "unknown" : "aborted";
            }
            tell(outcome, index, transaction);
            Thread.sleep(random.nextInt(30));
        }
    }

    /**
     * Reads committed records, copies them and commits what it has read, all in one transaction. Now and then it leaves
     * its group within one, and others take over what it has read.
     */
    static class Copier extends Actor {
        final int index;
        KafkaProducer<byte[], byte[]> producer;
        KafkaConsumer<byte[], byte[]> consumer;

        Copier(int index) {
            super("copier-" + index, false);
            this.index = index;
        }

        void open() {
            producer = producer("transactional.id", name, "transaction.timeout.ms", "60000", "compression.type", "zstd");
            producer.initTransactions();
            enterGroup();
        }

        void enterGroup() {
            if (consumer == null) {
                consumer = consumer("group.id", "copier", "isolation.level", "read_committed", "max.poll.records", "50",
                    "session.timeout.ms", "3000", "heartbeat.interval.ms", "500", "client.id", name);
                consumer.subscribe(List.of("txn"));
            }
        }

        @Override
        void work() throws Exception {
            if (producer == null) {
                open();
            }
            ConsumerRecords<byte[], byte[]> records = consumer.poll(STEP);
            if (records.isEmpty()) {
                return;
            }
            boolean abort = random.nextInt(8) == 0;
            boolean leave = random.nextInt(6) == 0;
            boolean late = random.nextBoolean();
            try {
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    ProducerRecord<byte[], byte[]> copy = new ProducerRecord<>("copied", record.partition(),
                        record.timestamp(), record.key(), record.value(), record.headers());
                    producer.send(copy);
                    offsets.put(new TopicPartition(record.topic(), record.partition()),
                        new OffsetAndMetadata(record.offset() + 1, "by " + name));
                }
                ConsumerGroupMetadata member = consumer.groupMetadata();
                if (leave && late) {
                    // No member any more: these offsets are to be refused.
                    leaveGroup();
                }
                producer.sendOffsetsToTransaction(offsets, member);
                if (leave && !late) {
                    leaveGroup();
                }
                Thread.sleep(random.nextInt(50));
                if (abort) {
                    producer.abortTransaction();
                    rewind();
                } else {
                    producer.commitTransaction();
                }
            } catch (CommitFailedException e) {
                tell("note", name, oneWord(e));
                producer.abortTransaction();
                rewind();
            } catch (KafkaException e) {
                tell("failed", name, oneWord(e));
                producer.close(Duration.ZERO);
                producer = null;
                open();
                rewind();
            }
            enterGroup();
        }

        void leaveGroup() {
            consumer.close();
            consumer = null;
            tell("note", name, "left_within_a_transaction");
        }

        void rewind() {
            if (consumer == null) {
                // Whoever joins again begins with what is committed.
                return;
            }
            while (true) {
                try {
                    Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
                    for (TopicPartition at : consumer.assignment()) {
                        OffsetAndMetadata offset = committed.get(at);
                        if (offset == null) {
                            consumer.seekToBeginning(List.of(at));
                        } else {
                            consumer.seek(at, offset.offset());
                        }
                    }
                    return;
                } catch (org.apache.kafka.common.errors.TimeoutException e) {
                    tell("note", name, oneWord(e));
                }
            }
        }

        @Override
        void settle() {
            stayIn(consumer);
        }
    }

    /** A member of a group that reads and commits, and leaves and comes back now and then. */
    static class Member extends Actor implements ConsumerRebalanceListener {
        static final String GROUP = "readers";
        final String[] config;
        KafkaConsumer<byte[], byte[]> consumer;

        Member(int index, String... config) {
            super("member-" + index, false);
            this.config = config;
        }

        @Override
        void work() throws Exception {
            if (consumer == null) {
                consumer = consumer(config);
                consumer.subscribe(List.of("idem"), this);
            }
            ConsumerRecords<byte[], byte[]> records = consumer.poll(STEP);
            if (!records.isEmpty()) {
                commit(records.partitions());
            }
            if (random.nextInt(100) == 0) {
                consumer.close(Duration.ofSeconds(20));
                consumer = null;
            }
        }

        private void commit(Collection<TopicPartition> partitions) {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (TopicPartition at : partitions) {
                long position = consumer.position(at);
                offsets.put(at, new OffsetAndMetadata(position));
                tell("tries", GROUP, at.topic(), at.partition(), position);
            }
            try {
                consumer.commitSync(offsets);
                offsets.forEach((at, offset) -> tell("commits-at", GROUP, at.topic(), at.partition(), offset.offset()));
            } catch (CommitFailedException | RebalanceInProgressException e) {
                tell("note", name, oneWord(e));
            }
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            for (TopicPartition at : partitions) {
                tell("starts", GROUP, at.topic(), at.partition(), consumer.position(at));
            }
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) { }

        @Override
        void settle() {
            stayIn(consumer);
        }
    }

    // Commands.

    static void topic(String name, String... config) throws Exception {
        TOPICS.add(name);
        Map<String, String> settings = new HashMap<>();
        for (int i = 0; i < config.length; i += 2) {
            settings.put(config[i], config[i + 1]);
        }
        try {
            admin.createTopics(List.of(new NewTopic(name, PARTITIONS, (short) 1).configs(settings))).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof TopicExistsException)) {
                throw e;
            }
        }
    }

    static void start(String what) throws Exception {
        switch (what) {
            case "plain" -> {
                topic("plain");
                ACTORS.add(new Writer("plain", 0, 40, "acks", "1", "enable.idempotence", "false",
                    "max.in.flight.requests.per.connection", "1"));
            }
            case "idem" -> {
                topic("idem");
                for (int i = 0; i < CODECS.length; i++) {
                    ACTORS.add(new Writer("idem", i, 100, "acks", "all", "compression.type", CODECS[i]));
                }
            }
            case "txn" -> {
                topic("txn");
                topic("side");
                for (int i = 0; i < 4; i++) {
                    ACTORS.add(new Transactor(i, i == 3));
                }
            }
            case "copy" -> {
                topic("copied");
                for (int i = 0; i < 2; i++) {
                    ACTORS.add(new Copier(i));
                }
            }
            case "group" -> {
                String cooperative = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
                for (int i = 0; i < 3; i++) {
                    List<String> config = new ArrayList<>(List.of("group.id", Member.GROUP, "session.timeout.ms", "3000",
                        "heartbeat.interval.ms", "500", "partition.assignment.strategy", cooperative));
                    if (i == 0) {
                        config.addAll(List.of("group.instance.id", "fixed"));
                    }
                    ACTORS.add(new Member(i, config.toArray(new String[0])));
                }
            }
            case "table" -> {
                topic("table", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01", "segment.bytes", "30000",
                    "delete.retention.ms", "500");
                ACTORS.add(new Writer("table", 0, 30, "acks", "all", "compression.type", "snappy", "batch.size", "2000"));
            }
            case "short" -> {
                topic("short");
                ACTORS.add(new Shortener());
            }
            default -> throw new IllegalArgumentException(what);
        }
    }

    static List<TopicPartition> partitions() throws Exception {
        List<TopicPartition> all = new ArrayList<>();
        Set<String> known;
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        // Right after its start a broker has not heard of its topics yet.
        while (!(known = admin.listTopics().names().get()).containsAll(TOPICS)) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("of " + TOPICS + " there are " + known);
            }
            Thread.sleep(100);
        }
        for (String topic : TOPICS) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                all.add(new TopicPartition(topic, partition));
            }
        }
        return all;
    }

    static void halt(boolean writers, long deadline) throws Exception {
        for (Actor actor : ACTORS) {
            if (actor.writes == writers) {
                actor.order(true);
            }
        }
        for (Actor actor : ACTORS) {
            if (actor.writes == writers && !actor.awaitStop(deadline)) {
                StringBuilder where = new StringBuilder();
                for (StackTraceElement element : actor.getStackTrace()) {
                    where.append(" < ").append(element);
                }
                throw new IllegalStateException(actor.name + " does not stop:" + where);
            }
        }
    }

    static void pause() throws Exception {
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        halt(true, deadline);
        awaitSettled(false, deadline);
        halt(false, deadline);
        awaitSettled(true, deadline);
    }

    static void awaitSettled(boolean everybody, long deadline) throws Exception {
        String open;
        while (!(open = open(everybody)).isEmpty()) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("not settled: " + open);
            }
            Thread.sleep(200);
        }
    }

    /** What is still under way though nobody writes any more. */
    static String open(boolean everybody) throws Exception {
        List<TopicPartition> all = partitions();
        StringBuilder open = new StringBuilder();
        try (KafkaConsumer<byte[], byte[]> committed = consumer("isolation.level", "read_committed");
             KafkaConsumer<byte[], byte[]> every = consumer()) {
            Map<TopicPartition, Long> stable = committed.endOffsets(all);
            Map<TopicPartition, Long> ends = every.endOffsets(all);
            boolean copied = ACTORS.stream().anyMatch(actor -> actor instanceof Copier);
            for (TopicPartition at : all) {
                // Copiers may be at work while only the writers have ended.
                if ((everybody || !at.topic().equals("copied")) && !stable.get(at).equals(ends.get(at))) {
                    open.append(at).append(" is stable up to ").append(stable.get(at)).append(" of ")
                        .append(ends.get(at)).append("; ");
                }
            }
            if (open.length() == 0 && copied) {
                Map<TopicPartition, OffsetAndMetadata> read = committedBy("copier");
                for (Map.Entry<TopicPartition, Long> last : lastRecords(committed, "txn").entrySet()) {
                    OffsetAndMetadata offset = read.get(last.getKey());
                    if (offset == null || offset.offset() <= last.getValue()) {
                        open.append(last.getKey()).append(" is copied up to ").append(offset).append(" of ")
                            .append(last.getValue()).append("; ");
                    }
                }
            }
        }
        return open.toString();
    }

    static Map<TopicPartition, OffsetAndMetadata> committedBy(String group) throws Exception {
        ListConsumerGroupOffsetsOptions stable = new ListConsumerGroupOffsetsOptions().requireStable(true);
        return admin.listConsumerGroupOffsets(group, stable).partitionsToOffsetAndMetadata().get();
    }

    static Map<TopicPartition, Long> lastRecords(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        Map<TopicPartition, Long> last = new HashMap<>();
        List<TopicPartition> all = new ArrayList<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            all.add(new TopicPartition(topic, partition));
        }
        readAll(consumer, all, record -> last.put(new TopicPartition(topic, record.partition()), record.offset()));
        return last;
    }

    static void readAll(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> all,
                        java.util.function.Consumer<ConsumerRecord<byte[], byte[]>> each) {
        consumer.assign(all);
        consumer.seekToBeginning(all);
        Map<TopicPartition, Long> ends = consumer.endOffsets(all);
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        while (true) {
            boolean done = true;
            for (TopicPartition at : all) {
                done &= consumer.position(at) >= ends.get(at);
            }
            if (done) {
                return;
            }
            if (System.currentTimeMillis() > deadline) {
                StringBuilder where = new StringBuilder();
                for (TopicPartition at : all) {
                    where.append(at).append(" at ").append(consumer.position(at)).append(" of ").append(ends.get(at))
                        .append("; ");
                }
                throw new IllegalStateException("cannot be read to the end: " + where);
            }
            consumer.poll(STEP).forEach(each);
        }
    }

    static void dump(String file) throws Exception {
        List<TopicPartition> all = partitions();
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(file)))) {
            for (String level : List.of("read_uncommitted", "read_committed")) {
                try (KafkaConsumer<byte[], byte[]> consumer = consumer("isolation.level", level,
                    "max.partition.fetch.bytes", "60000", "check.crcs", "true")) {
                    Map<TopicPartition, Long> begins = consumer.beginningOffsets(all);
                    Map<TopicPartition, Long> ends = consumer.endOffsets(all);
                    for (TopicPartition at : all) {
                        out.println("range " + level + " " + at.topic() + " " + at.partition() + " " + begins.get(at) + " "
                            + ends.get(at));
                    }
                    readAll(consumer, all, record -> out.println("rec " + level + " " + record.topic() + " "
                        + record.partition() + " " + record.offset() + " " + numberOf(record)));
                }
            }
            for (String group : List.of("copier", Member.GROUP)) {
                Map<TopicPartition, OffsetAndMetadata> read = committedBy(group);
                read.forEach((at, offset) -> out.println("offset " + group + " " + at.topic() + " " + at.partition() + " "
                    + offset.offset()));
            }
            out.println("end");
        }
    }

    static void obey(String[] words) throws Exception {
        switch (words[0]) {
            case "start" -> {
                int first = ACTORS.size();
                for (String what : Arrays.asList(words).subList(1, words.length)) {
                    start(what);
                }
                ACTORS.subList(first, ACTORS.size()).forEach(Thread::start);
            }
            case "pause" -> pause();
            case "resume" -> ACTORS.forEach(actor -> actor.order(false));
            case "dump" -> dump(words[1]);
            case "flush" -> { }
            case "quit" -> {
                history.flush();
                Runtime.getRuntime().halt(0);
            }
            default -> throw new IllegalArgumentException(words[0]);
        }
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        seed = Long.parseLong(args[1]);
        inFlight = args[2];
        history = Files.newBufferedWriter(Path.of(args[3]));
        Properties p = common();
        p.put("default.api.timeout.ms", "120000");
        admin = Admin.create(p);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        int number = 0;
        String line;
        while ((line = commands.readLine()) != null) {
            number++;
            String answer = "done";
            try {
                obey(line.split(" "));
            } catch (Throwable e) {
                e.printStackTrace();
                answer = "error " + oneWord(e);
            }
            synchronized (Endurance.class) {
                history.flush();
            }
            System.out.println(number + " " + answer);
            System.out.flush();
        }
        Runtime.getRuntime().halt(0);
    }
}
