import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The same round trip with several versions of the Java clients: each writes a topic with every codec it has, then
 * each reads what all of them wrote, in a group that is left and joined again in between.
 *
 * Usage: ClientVersions HOST:PORT VERSIONS-DIRECTORY SHARED-JARS-DIRECTORY VERSION...
 */
public class ClientVersions {
    /** What client jars need beside themselves. */
    static final List<String> SHARED = List.of("snappy-java", "zstd-jni", "slf4j-api");
    /** What those need that do not come with an older one. */
    static final String LZ4 = "lz4";

    static List<URL> jars(Path directory, List<String> names) throws Exception {
        List<URL> found = new ArrayList<>();
        try (DirectoryStream<Path> jars = Files.newDirectoryStream(directory, "*.jar")) {
            for (Path jar : jars) {
                if (names.stream().anyMatch(jar.getFileName().toString()::startsWith)) {
                    found.add(jar.toUri().toURL());
                }
            }
        }
        return found;
    }

    /** One version's classes, with its own copy of {@link Client}. */
    static class Version extends URLClassLoader {
        final String name;
        final Class<?> client;

        Version(String name, List<URL> jars, ClassLoader shared) throws Exception {
            super(jars.toArray(new URL[0]), shared);
            this.name = name;
            try (InputStream in = ClientVersions.class.getResourceAsStream("Client.class")) {
                byte[] code = in.readAllBytes();
                client = defineClass("Client", code, 0, code.length);
            }
        }

        void call(String method, Object... arguments) throws Exception {
            Thread.currentThread().setContextClassLoader(this);
            for (var candidate : client.getDeclaredMethods()) {
                if (candidate.getName().equals(method)) {
                    candidate.setAccessible(true);
                    candidate.invoke(null, arguments);
                    return;
                }
            }
            throw new NoSuchMethodException(method);
        }

        /** Whether this version is at least that one. */
        boolean since(int major, int minor) {
            String[] parts = name.split("\\.");
            int[] own = {Integer.parseInt(parts[0]), Integer.parseInt(parts[1])};
            return own[0] > major || own[0] == major && own[1] >= minor;
        }

        String topic() {
            return "from-" + name;
        }

        List<String> codecs() {
            List<String> codecs = new ArrayList<>(List.of("none", "gzip", "snappy", "lz4"));
            if (since(2, 1)) {
                codecs.add("zstd");
            }
            return codecs;
        }
    }

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        Path shared = Path.of(arguments[2]);
        URL[] found = jars(shared, SHARED).toArray(new URL[0]);
        ClassLoader parent = new URLClassLoader(found, ClassLoader.getPlatformClassLoader());
        List<Version> versions = new ArrayList<>();
        for (String name : List.of(arguments).subList(3, arguments.length)) {
            Path directory = Path.of(arguments[1], name);
            List<URL> lz4 = jars(directory, List.of(LZ4));
            List<URL> jars = jars(directory, List.of("kafka-clients"));
            jars.addAll(lz4.isEmpty() ? jars(shared, List.of(LZ4)) : lz4);
            versions.add(new Version(name, jars, parent));
        }
        for (Version writer : versions) {
            writer.call("write", bootstrap, writer.topic(), writer.codecs());
        }
        for (Version reader : versions) {
            // The first Java consumer is that of 0.9.
            if (!reader.since(0, 9)) {
                continue;
            }
            List<String> topics = new ArrayList<>();
            int wanted = 0;
            for (Version writer : versions) {
                // Who does not know a codec is told so, which is not the matter here.
                if (reader.codecs().containsAll(writer.codecs())) {
                    topics.add(writer.topic());
                    wanted += writer.codecs().size() * Client.RECORDS;
                }
            }
            reader.call("read", bootstrap, topics, "group-" + reader.name, wanted);
            System.out.println(reader.name + " read " + wanted + " records of " + topics);
        }
        // Some old clients leave threads behind.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }
}

/** The round trip itself, in no words but those that all versions have. */
class Client {
    static final int RECORDS = 60;

    static void write(String bootstrap, String topic, List<String> codecs) throws Exception {
        for (String codec : codecs) {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            properties.put("acks", "all");
            properties.put("compression.type", codec);
            properties.put("linger.ms", "20");
            properties.put("key.serializer", StringSerializer.class.getName());
            properties.put("value.serializer", StringSerializer.class.getName());
            KafkaProducer<String, String> producer = new KafkaProducer<>(properties);
            List<Future<?>> sent = new ArrayList<>();
            for (int i = 0; i < RECORDS; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, "key " + i % 7, topic + " " + codec + " " + i)));
            }
            for (Future<?> one : sent) {
                one.get(60, TimeUnit.SECONDS);
            }
            producer.close();
        }
    }

    static void read(String bootstrap, List<String> topics, String group, int wanted) throws Exception {
        TreeSet<String> seen = new TreeSet<>();
        int total = 0;
        for (int sitting = 1; sitting <= 2; sitting++) {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            properties.put("group.id", group);
            properties.put("auto.offset.reset", "earliest");
            properties.put("enable.auto.commit", "false");
            // The first sitting ends in the middle.
            properties.put("max.poll.records", "50");
            properties.put("max.partition.fetch.bytes", "10000");
            properties.put("key.deserializer", StringDeserializer.class.getName());
            properties.put("value.deserializer", StringDeserializer.class.getName());
            KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties);
            subscribe(consumer, topics);
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (total < wanted * sitting / 2 && System.nanoTime() < end) {
                for (ConsumerRecord<?, ?> record : poll(consumer)) {
                    total++;
                    seen.add((String) record.value());
                }
            }
            consumer.commitSync();
            consumer.close();
        }
        if (total != wanted || seen.size() != wanted) {
            throw new IllegalStateException(
                    group + ": " + total + " records, " + seen.size() + " of them different, instead of " + wanted);
        }
    }

    /** Takes a list in 0.9 and a collection after that. */
    static void subscribe(KafkaConsumer<?, ?> consumer, List<String> topics) throws Exception {
        Class<?> taken = Collection.class;
        try {
            KafkaConsumer.class.getMethod("subscribe", taken);
        } catch (NoSuchMethodException old) {
            taken = List.class;
        }
        KafkaConsumer.class.getMethod("subscribe", taken).invoke(consumer, topics);
    }

    /** Takes milliseconds before 2.0 and a duration since. */
    @SuppressWarnings("unchecked")
    static Iterable<ConsumerRecord<?, ?>> poll(KafkaConsumer<?, ?> consumer) throws Exception {
        try {
            return (Iterable<ConsumerRecord<?, ?>>)
                    KafkaConsumer.class.getMethod("poll", Duration.class).invoke(consumer, Duration.ofMillis(200));
        } catch (NoSuchMethodException old) {
            return (Iterable<ConsumerRecord<?, ?>>) KafkaConsumer.class.getMethod("poll", long.class).invoke(consumer, 200L);
        }
    }
}
