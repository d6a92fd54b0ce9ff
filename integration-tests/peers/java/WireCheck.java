import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.requests.RequestHeader;

/**
 * Decodes messages with Kafka's classes and encodes them again.
 *
 * <p>Standard input holds vectors: a name as {@link DataInputStream#readUTF} reads it, a 2-byte
 * version, a 4-byte length and the bytes. For each, standard output gets a byte that says whether
 * it went well, a 4-byte length, and the bytes that Kafka writes or an error in UTF-8. The name
 * {@code RequestHeader} stands for a request header, followed by one byte: the version of the
 * response's header.
 */
public final class WireCheck {
    private static final String[] PLACES = {
        "org.apache.kafka.common.message.%sData",
        "org.apache.kafka.common.message.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "kafka.internals.generated.%s",
    };
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
            result = name.equals("RequestHeader") ? header(bytes) : message(name, version, bytes);
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
