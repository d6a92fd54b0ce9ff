import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * A Kafka Streams application with exactly_once_v2: running sums and counts by key, through a repartition topic, with a
 * store on disk and one in memory, and the producer that feeds it.
 *
 * Usage: StreamsSum HOST:PORT STATE-DIRECTORY RESULT-FILE COUNT; commands on standard input:
 *   start     makes the topics, feeds the numbers 1 to COUNT and starts the application
 *   renew     stops the application, forgets its stores and starts it again: it restores them from the broker
 *   finish    waits until everything is counted, stops, and writes what a reader of committed records sees
 */
public class StreamsSum {
    static final int PARTITIONS = 3;
    static final String[] KEYS = {"ash", "beech", "cedar", "elm", "fir", "holly", "larch"};
    static final long LIMIT_MS = 240_000;
    static final AtomicInteger REPLACED = new AtomicInteger();

    static String bootstrap;
    static String directory;
    static long count;
    static KafkaStreams streams;

    static Properties common() {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("reconnect.backoff.max.ms", "300");
        p.put("metadata.max.age.ms", "5000");
        return p;
    }

    static void makeTopics() throws Exception {
        Properties p = common();
        p.put("default.api.timeout.ms", "120000");
        try (Admin admin = Admin.create(p)) {
            for (String name : List.of("numbers", "sums", "counts")) {
                admin.createTopics(List.of(new NewTopic(name, PARTITIONS, (short) 1))).all().get();
            }
        }
    }

    static void feed() throws InterruptedException, ExecutionException {
        Properties p = common();
        p.put("delivery.timeout.ms", "300000");
        p.put("max.block.ms", "300000");
        p.put("linger.ms", "5");
        try (KafkaProducer<String, Long> producer = new KafkaProducer<>(p, new StringSerializer(), new LongSerializer())) {
            for (long number = 1; number <= count; number++) {
                producer.send(new ProducerRecord<>("numbers", (int) (number % PARTITIONS), null, number), (at, error) -> {
                    if (error != null) {
                        System.out.println("not fed: " + error);
                    }
                });
                if (number % 5 == 0) {
                    Thread.sleep(5);
                }
            }
        }
    }

    static void startStreams() {
        StreamsBuilder builder = new StreamsBuilder();
        KGroupedStream<String, Long> byKey = builder
            .stream("numbers", Consumed.with(Serdes.String(), Serdes.Long()))
            .map((nothing, number) -> KeyValue.pair(KEYS[(int) (number % KEYS.length)], number))
            .groupByKey(Grouped.with("by-key", Serdes.String(), Serdes.Long()));
        byKey.reduce(Long::sum, Materialized.<String, Long>as(Stores.persistentKeyValueStore("sum-store"))
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream().to("sums", Produced.with(Serdes.String(), Serdes.Long()));
        byKey.count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("count-store"))
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream().to("counts", Produced.with(Serdes.String(), Serdes.Long()));
        Properties p = common();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, "trees");
        p.put(StreamsConfig.STATE_DIR_CONFIG, directory);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        // Each input has its output.
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        p.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, 1000);
        p.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 10000);
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        p.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), 30000);
        streams = new KafkaStreams(builder.build(), p);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            REPLACED.incrementAndGet();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
    }

    /** Reads topics as a reader of committed records, until there is enough and nothing is under way. */
    static void finish(String file) throws Exception {
        List<TopicPartition> all = new ArrayList<>();
        for (String topic : List.of("sums", "counts")) {
            for (int partition = 0; partition < PARTITIONS; partition++) {
                all.add(new TopicPartition(topic, partition));
            }
        }
        Properties p = common();
        p.put("isolation.level", "read_committed");
        p.put("default.api.timeout.ms", "120000");
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        try (KafkaConsumer<String, Long> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new LongDeserializer());
             PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(file)))) {
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long seen = 0;
            boolean closed = false;
            while (true) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    out.println(record.topic() + " " + record.key() + " " + record.value());
                    seen++;
                }
                if (seen >= 2 * count && !closed) {
                    // A graceful end commits or aborts what is under way.
                    closed = streams.close(Duration.ofSeconds(60));
                }
                if (closed) {
                    Map<TopicPartition, Long> ends = consumer.endOffsets(all);
                    if (all.stream().allMatch(at -> consumer.position(at) >= ends.get(at))) {
                        break;
                    }
                }
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(seen + " of " + 2 * count + " results, streams are " + streams.state());
                }
            }
            out.println("replaced " + REPLACED.get());
        }
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        directory = args[1];
        count = Long.parseLong(args[3]);
        Thread feeder = null;
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        String line;
        while ((line = commands.readLine()) != null) {
            switch (line) {
                case "start" -> {
                    makeTopics();
                    feeder = new Thread(() -> {
                        try {
                            feed();
                        } catch (Exception e) {
                            e.printStackTrace();
                        }
                    });
                    feeder.start();
                    startStreams();
                }
                case "renew" -> {
                    streams.close(Duration.ofSeconds(60));
                    streams.cleanUp();
                    startStreams();
                }
                case "finish" -> {
                    feeder.join();
                    finish(args[2]);
                }
                default -> throw new IllegalArgumentException(line);
            }
            System.out.println(line + " done");
        }
        Runtime.getRuntime().halt(0);
    }
}
