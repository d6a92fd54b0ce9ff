import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.security.KeyStore;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ConnectStringParser;
import org.apache.zookeeper.client.HostProvider;
import org.apache.zookeeper.client.StaticHostProvider;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;

/**
 * Connects in many ways at once and says what came of each. One way a line on standard input:
 * NAME HOST:PORT [property=value ...], separated by tabs, where properties are those of ZKClientConfig; or
 * NAME HOST:PORT word=WORD store=FILE trust=FILE, which sends a four-letter word through TLS.
 */
public class TlsScript {
    static final char[] PASSWORD = "changeit".toCharArray();

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        ExecutorService threads = Executors.newCachedThreadPool();
        List<String> names = new ArrayList<>();
        List<Future<List<String>>> outcomes = new ArrayList<>();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split("\t");
            names.add(words[0]);
            outcomes.add(threads.submit((Callable<List<String>>) () -> outcome(words)));
        }
        for (int i = 0; i < names.size(); i++) {
            for (String said : outcomes.get(i).get()) {
                System.out.println(names.get(i) + ": " + said);
            }
        }
        System.exit(0);
    }

    static List<String> outcome(String[] words) throws Exception {
        List<String> said = new ArrayList<>();
        if (words.length > 2 && words[2].startsWith("word=")) {
            said.add(ask(words));
            return said;
        }
        ZKClientConfig config = new ZKClientConfig();
        for (int i = 2; i < words.length; i++) {
            String[] pair = words[i].split("=", 2);
            config.setProperty(pair[0], pair[1]);
        }
        LinkedBlockingQueue<KeeperState> states = new LinkedBlockingQueue<>();
        Attempts attempts = new Attempts(words[1]);
        try (ZooKeeper zk = new ZooKeeper(words[1], 30000, event -> states.add(event.getState()), false, attempts, config)) {
            while (attempts.begun < 4) {
                if (states.poll(50, TimeUnit.MILLISECONDS) == KeeperState.SyncConnected) {
                    said.add("connected");
                    use(zk, "/" + words[0], said);
                    return said;
                }
            }
            said.add("refused");
        }
        return said;
    }

    static String ask(String[] words) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(load(words[3]), PASSWORD);
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(load(words[4]));
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        String[] host = words[1].split(":");
        try (Socket socket = context.getSocketFactory().createSocket(host[0], Integer.parseInt(host[1]))) {
            socket.getOutputStream().write(words[2].substring(5).getBytes());
            socket.getOutputStream().flush();
            return new String(socket.getInputStream().readAllBytes());
        }
    }

    static KeyStore load(String word) throws Exception {
        return KeyStore.getInstance(new File(word.split("=")[1]), PASSWORD);
    }

    /** Counts how often the client tries. */
    static class Attempts implements HostProvider {
        final HostProvider hosts;
        volatile int begun;

        Attempts(String text) {
            hosts = new StaticHostProvider(new ConnectStringParser(text).getServerAddresses());
        }

        @Override
        public int size() {
            return hosts.size();
        }

        @Override
        public InetSocketAddress next(long spinDelay) {
            begun++;
            return hosts.next(spinDelay);
        }

        @Override
        public void onConnected() {
            hosts.onConnected();
        }

        @Override
        public boolean updateServerList(Collection<InetSocketAddress> addresses, InetSocketAddress current) {
            return hosts.updateServerList(addresses, current);
        }
    }

    interface Step {
        Object run() throws Exception;
    }

    static void step(List<String> said, String title, Step step) throws Exception {
        Object result;
        try {
            result = step.run();
        } catch (KeeperException e) {
            result = e.code();
        }
        said.add(title + " -> " + String.valueOf(result).replace("\n", " "));
    }

    static void use(ZooKeeper zk, String path, List<String> said) throws Exception {
        step(said, "whoAmI", () -> {
            List<String> ids = new ArrayList<>();
            for (ClientInfo info : zk.whoAmI()) {
                ids.add(info.getAuthScheme() + ":" + info.getUser());
            }
            Collections.sort(ids);
            return ids;
        });
        step(said, "create for its creator", () -> zk.create(path, new byte[100_000], ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        step(said, "its ACL", () -> zk.getACL(path, null));
        for (int length : new int[] {0, 1, 16_384, 300_000, 1_000_000}) {
            step(said, "set " + length, () -> zk.setData(path, new byte[length], -1).getVersion());
            step(said, "get", () -> zk.getData(path, false, null).length);
        }
        for (String id : new String[] {"CN=client one,OU=A\\, B \\+ C,O=Tandem,C=DE", "CN=somebody", "no name", "", "CN=a+", "O=\"x,y\"; c=DE"}) {
            List<ACL> acl = Arrays.asList(new ACL(ZooDefs.Perms.ALL, new Id("x509", id)));
            String child = path + "-" + Integer.toHexString(id.hashCode());
            step(said, "create for " + id, () -> zk.create(child, new byte[0], acl, CreateMode.EPHEMERAL));
            step(said, "read it", () -> zk.getData(child, false, null).length);
        }
        step(said, "read another's", () -> zk.getData("/private", false, null).length);
    }
}
