import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.Permission;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs the main methods of the stock tools inside one JVM, so that a test does not pay a JVM start for each command.
 *
 * <p>Each connection to the printed port is one call. The caller sends the number of words, then each word (class
 * name first) as length and bytes; after that frames go both ways: a type byte, a length, the payload. From the
 * caller: {@code I} standard input, {@code E} its end. To the caller: {@code O} standard output, {@code R} standard
 * error, {@code X} the exit code, always last. A call is told from the others by its thread group; System.exit inside
 * it ends the call. The runner ends with its own standard input, which is with the test that started it.
 */
public final class ToolRunner {
    private static final Map<ThreadGroup, Call> CALLS = new ConcurrentHashMap<>();
    private static final PrintStream REAL_ERR = System.err;

    public static void main(String[] args) throws Exception {
        PrintStream realOut = System.out;
        System.setSecurityManager(new ExitTrap());
        System.setOut(new PrintStream(new Demultiplexer('O'), true, "UTF-8"));
        System.setErr(new PrintStream(new Demultiplexer('R'), true, "UTF-8"));
        System.setIn(new DemultiplexedInput());

        ServerSocket listener = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());
        realOut.println("PORT " + listener.getLocalPort());
        realOut.flush();
        Thread watcher = new Thread(() -> {
            try {
                while (REAL_IN.read() >= 0) { }
            } catch (IOException e) {
                // The same as the end of the input.
            }
            Runtime.getRuntime().halt(0);
        });
        watcher.setDaemon(true);
        watcher.start();
        while (true) {
            Call call = new Call(listener.accept());
            Thread reader = new Thread(call::serve);
            reader.setDaemon(true);
            reader.start();
        }
    }

    private static final InputStream REAL_IN = System.in;

    private static Call current() {
        for (ThreadGroup g = Thread.currentThread().getThreadGroup(); g != null; g = g.getParent()) {
            Call call = CALLS.get(g);
            if (call != null) {
                return call;
            }
        }
        return null;
    }

    /** Thrown in place of exiting, to unwind the thread that asked for it. */
    private static final class Exited extends SecurityException {
        Exited() {
            super("the tool has exited");
        }
    }

    private static final class ExitTrap extends SecurityManager {
        @Override public void checkExit(int status) {
            Call call = current();
            if (call != null) {
                call.finish(status);
                throw new Exited();
            }
        }

        @Override public void checkPermission(Permission permission) { }

        @Override public void checkPermission(Permission permission, Object context) { }

        // The default would start threads of a call in the group of whoever installed the security manager.
        @Override public ThreadGroup getThreadGroup() {
            return Thread.currentThread().getThreadGroup();
        }
    }

    /** One command: its words, its input and where its output goes. */
    private static final class Call {
        private final Socket socket;
        private DataOutputStream out;
        private final ByteArrayOutputStream pending = new ByteArrayOutputStream();
        private int pendingRead = 0;
        private boolean inputEnded = false;
        private boolean finished = false;
        private ThreadGroup group;

        Call(Socket socket) {
            this.socket = socket;
        }

        void serve() {
            try {
                socket.setTcpNoDelay(true);
                DataInputStream in = new DataInputStream(socket.getInputStream());
                out = new DataOutputStream(socket.getOutputStream());
                List<String> words = new ArrayList<>();
                for (int n = in.readInt(); n > 0; n--) {
                    byte[] word = new byte[in.readInt()];
                    in.readFully(word);
                    words.add(new String(word, StandardCharsets.UTF_8));
                }
                group = new ThreadGroup(words.get(0));
                CALLS.put(group, this);
                Thread main = new Thread(group, () -> runMain(words), "main");
                main.setDaemon(true);
                main.start();
                while (true) {
                    int type = in.read();
                    if (type < 0) {
                        break;
                    }
                    byte[] bytes = new byte[in.readInt()];
                    in.readFully(bytes);
                    synchronized (pending) {
                        if (type == 'I') {
                            pending.write(bytes);
                        } else {
                            inputEnded = true;
                        }
                        pending.notifyAll();
                    }
                }
            } catch (IOException e) {
                // The caller went away; what follows is the same as for a clean end.
            }
            synchronized (pending) {
                inputEnded = true;
                pending.notifyAll();
            }
            // Consumers close their membership when they are interrupted; nothing else here outlives its call.
            if (group != null) {
                group.interrupt();
            }
        }

        private void runMain(List<String> words) {
            int code = 0;
            try {
                ClassLoader loader = new FreshTools();
                Thread.currentThread().setContextClassLoader(loader);
                Class<?> tool = Class.forName(words.get(0), true, loader);
                String[] rest = words.subList(1, words.size()).toArray(new String[0]);
                tool.getMethod("main", String[].class).invoke(null, (Object) rest);
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof Exited)) {
                    System.err.print("Exception in thread \"main\" ");
                    e.getCause().printStackTrace();
                    code = 1;
                }
            } catch (Throwable e) {
                e.printStackTrace();
                code = 1;
            }
            finish(code);
        }

        synchronized void send(char type, byte[] bytes, int offset, int length) {
            if (finished) {
                return;
            }
            try {
                out.writeByte(type);
                out.writeInt(length);
                out.write(bytes, offset, length);
                out.flush();
            } catch (IOException e) {
                finished = true;
            }
        }

        synchronized void finish(int code) {
            send('X', new byte[] {(byte) (code >> 24), (byte) (code >> 16), (byte) (code >> 8), (byte) code}, 0, 4);
            finished = true;
        }

        int read(byte[] into, int offset, int length) throws IOException {
            synchronized (pending) {
                while (pending.size() == pendingRead) {
                    if (inputEnded) {
                        return -1;
                    }
                    try {
                        pending.wait();
                    } catch (InterruptedException e) {
                        throw new IOException("interrupted");
                    }
                }
                byte[] all = pending.toByteArray();
                int n = Math.min(length, all.length - pendingRead);
                System.arraycopy(all, pendingRead, into, offset, n);
                pendingRead += n;
                return n;
            }
        }
    }

    /** The tools keep counters in static fields, so each call has its own copy of their classes. */
    private static final class FreshTools extends URLClassLoader {
        private static final String[] FRESH = {
            "kafka.tools.", "kafka.admin.", "org.apache.kafka.tools.",
            "org.apache.zookeeper.ZooKeeperMain", "org.apache.zookeeper.cli.",
        };

        FreshTools() throws IOException {
            super(classPath(), ToolRunner.class.getClassLoader());
        }

        private static URL[] classPath() throws IOException {
            List<URL> urls = new ArrayList<>();
            for (String entry : System.getProperty("java.class.path").split(":")) {
                urls.add(Path.of(entry).toUri().toURL());
            }
            return urls.toArray(new URL[0]);
        }

        @Override protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            for (String prefix : FRESH) {
                if (name.startsWith(prefix)) {
                    synchronized (getClassLoadingLock(name)) {
                        Class<?> loaded = findLoadedClass(name);
                        return loaded != null ? loaded : findClass(name);
                    }
                }
            }
            return super.loadClass(name, resolve);
        }
    }

    private static final class Demultiplexer extends OutputStream {
        private final char type;

        Demultiplexer(char type) {
            this.type = type;
        }

        @Override public void write(int b) {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override public void write(byte[] bytes, int offset, int length) {
            Call call = current();
            if (call != null) {
                call.send(type, bytes, offset, length);
            } else {
                // Left over from the threads that all calls share; of interest only to whoever reads the log.
                REAL_ERR.write(bytes, offset, length);
                REAL_ERR.flush();
            }
        }
    }

    private static final class DemultiplexedInput extends InputStream {
        @Override public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override public int read(byte[] into, int offset, int length) throws IOException {
            Call call = current();
            return call == null || length == 0 ? -1 : call.read(into, offset, length);
        }

        @Override public int available() {
            return 0;
        }
    }
}
