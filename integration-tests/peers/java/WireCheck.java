import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.ByteBufferOutputStream;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Utils;

/**
 * Decodes messages with Kafka's classes and encodes them again.
 *
 * <p>Standard input holds vectors: a name as {@link DataInputStream#readUTF} reads it, a 2-byte
 * version, a 4-byte length and the bytes. For each, standard output gets a byte that says whether
 * it went well, a 4-byte length, and the bytes that Kafka writes or an error in UTF-8. The name
 * {@code RequestHeader} stands for a request header, followed by one byte: the version of the
 * response's header. Other names have a colon and stand for work on records, with the magic in
 * place of the version:
 *
 * <ul>
 *   <li>{@code pack:CODEC}, {@code unpack:CODEC}: compresses or decompresses.
 *   <li>{@code build:CODEC:TYPE}: a set of that magic with the records of the given batches; TYPE
 *       is a timestamp type.
 *   <li>{@code down:OFFSET}: converts the given batches to that magic for a reader at OFFSET.
 *   <li>{@code list}: a line for each record of the given batches.
 * </ul>
 */
public final class WireCheck {
    private static final String[] PLACES = {
        "org.apache.kafka.common.message.%sData",
        "org.apache.kafka.common.message.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "kafka.internals.generated.%s",
    };
    private static final long LOG_APPEND_TIME = 1717000000123L;
    private static final Map<String, Class<?>> CLASSES = new HashMap<>();

    public static void main(String[] args) throws Exception {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
        while (true) {
            String name;
            try {
                name = in.readUTF();
            } catch (EOFException end) {
                break;
            }
            short version = in.readShort();
            byte[] bytes = new byte[in.readInt()];
            in.readFully(bytes);
            answer(out, name, version, bytes);
        }
        out.flush();
    }

    private static void answer(DataOutputStream out, String name, short version, byte[] bytes)
            throws IOException {
        boolean good = true;
        byte[] result;
        try {
            if (name.contains(":")) {
                result = records(name.split(":"), (byte) version, ByteBuffer.wrap(bytes));
            } else if (name.equals("RequestHeader")) {
                result = header(bytes);
            } else {
                result = message(name, version, bytes);
            }
        } catch (Exception | Error failure) {
            good = false;
            Throwable cause = failure.getCause() == null ? failure : failure.getCause();
            result = cause.toString().getBytes("UTF-8");
        }
        out.writeBoolean(good);
        out.writeInt(result.length);
        out.write(result);
    }

    private static byte[] header(byte[] bytes) {
        RequestHeader header = RequestHeader.parse(ByteBuffer.wrap(bytes));
        ByteBuffer again = MessageUtil.toByteBuffer(header.data(), header.headerVersion());
        byte[] result = new byte[again.remaining() + 1];
        again.get(result, 0, again.remaining());
        ApiKeys key = header.apiKey();
        result[result.length - 1] = (byte) key.responseHeaderVersion(header.apiVersion());
        return result;
    }

    private static byte[] message(String name, short version, byte[] bytes) throws Exception {
        ByteBufferAccessor readable = new ByteBufferAccessor(ByteBuffer.wrap(bytes));
        Message message = (Message) find(name)
                .getConstructor(Readable.class, short.class)
                .newInstance(readable, version);
        if (readable.remaining() > 0) {
            throw new IllegalStateException(readable.remaining() + " bytes left");
        }
        ByteBuffer again = MessageUtil.toByteBuffer(message, version);
        byte[] result = new byte[again.remaining()];
        again.get(result);
        return result;
    }

    private static byte[] records(String[] work, byte magic, ByteBuffer bytes) throws Exception {
        switch (work[0]) {
            case "pack": {
                ByteBufferOutputStream out = new ByteBufferOutputStream(64);
                CompressionType codec = CompressionType.forName(work[1]);
                try (OutputStream packing = codec.wrapForOutput(out, magic)) {
                    packing.write(bytes.array());
                }
                return flipped(out.buffer());
            }
            case "unpack": {
                CompressionType codec = CompressionType.forName(work[1]);
                BufferSupplier buffers = BufferSupplier.NO_CACHING;
                try (InputStream unpacking = codec.wrapForInput(bytes, magic, buffers)) {
                    return unpacking.readAllBytes();
                }
            }
            case "build": {
                MemoryRecordsBuilder builder = MemoryRecords.builder(
                        ByteBuffer.allocate(1024),
                        magic,
                        CompressionType.forName(work[1]),
                        TimestampType.forName(work[2]),
                        MemoryRecords.readableRecords(bytes).records().iterator().next().offset(),
                        LOG_APPEND_TIME);
                for (Record record : MemoryRecords.readableRecords(bytes).records()) {
                    builder.appendWithOffset(record.offset(), record);
                }
                ByteBuffer built = builder.build().buffer();
                byte[] result = new byte[built.remaining()];
                built.get(result);
                return result;
            }
            case "down": {
                ByteBuffer converted = ((MemoryRecords) MemoryRecords.readableRecords(bytes)
                        .downConvert(magic, Long.parseLong(work[1]), Time.SYSTEM)
                        .records()).buffer();
                byte[] result = new byte[converted.remaining()];
                converted.get(result);
                return result;
            }
            case "list": {
                StringBuilder lines = new StringBuilder();
                for (RecordBatch batch : MemoryRecords.readableRecords(bytes).batches()) {
                    batch.ensureValid();
                    for (Record record : batch) {
                        lines.append(batch.magic()).append(' ').append(record.offset());
                        lines.append(' ').append(record.timestamp());
                        lines.append(' ').append(text(record.key()));
                        lines.append(' ').append(text(record.value())).append('\n');
                    }
                }
                return lines.toString().getBytes("UTF-8");
            }
            default:
                throw new IllegalArgumentException(work[0]);
        }
    }

    private static byte[] flipped(ByteBuffer buffer) {
        buffer.flip();
        byte[] result = new byte[buffer.remaining()];
        buffer.get(result);
        return result;
    }

    private static String text(ByteBuffer bytes) throws IOException {
        return bytes == null ? "null" : "'" + new String(Utils.toArray(bytes), "UTF-8") + "'";
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        Class<?> known = CLASSES.get(name);
        if (known != null) {
            return known;
        }
        for (String place : PLACES) {
            try {
                Class<?> found = Class.forName(String.format(place, name));
                CLASSES.put(name, found);
                return found;
            } catch (ClassNotFoundException elsewhere) {
                // The next place may have it.
            }
        }
        throw new ClassNotFoundException(name);
    }
}
