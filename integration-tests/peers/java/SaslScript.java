import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.AppConfigurationEntry.LoginModuleControlFlag;
import javax.security.auth.login.Configuration;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/**
 * Logs several users in with SASL and tries what they may do; prints each outcome, one a line.
 *
 * The server must know the users super (password adminsecret), bob (bobsecret), alice ("al ice") and
 * jürg (pä), and the scheme sasl.
 *
 * Usage: SaslScript HOST:PORT
 */
public class SaslScript {
    static final long LIMIT_MS = 30_000;
    static String address;

    /** A client and the states that it went through. */
    static final class Client implements AutoCloseable {
        final String name;
        final BlockingQueue<KeeperState> states = new LinkedBlockingQueue<>();
        final ZooKeeper zk;
        /** Once turned away, what it gets depends on how far it has come with connecting again. */
        boolean gone;

        Client(String name, String section) throws Exception {
            this.name = name;
            ZKClientConfig config = new ZKClientConfig();
            if (section == null) {
                config.setProperty(ZKClientConfig.ENABLE_CLIENT_SASL_KEY, "false");
            } else {
                config.setProperty(ZKClientConfig.LOGIN_CONTEXT_NAME_KEY, section);
            }
            zk = new ZooKeeper(address, 20_000, this::see, config);
            List<KeeperState> seen = new ArrayList<>();
            KeeperState last = section == null ? KeeperState.SyncConnected : KeeperState.SaslAuthenticated;
            long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(LIMIT_MS);
            while (System.nanoTime() < deadline) {
                KeeperState state = states.poll(100, TimeUnit.MILLISECONDS);
                if (state == null) {
                    continue;
                }
                seen.add(state);
                if (state == last || state == KeeperState.AuthFailed || state == KeeperState.Closed) {
                    break;
                }
            }
            System.out.println(name + " sees " + seen);
        }

        void see(WatchedEvent event) {
            states.add(event.getState());
        }

        void attempt(String what, Callable<Object> call) throws Exception {
            if (gone) {
                return;
            }
            String outcome;
            try {
                outcome = String.valueOf(call.call());
            } catch (KeeperException.ConnectionLossException | KeeperException.SessionClosedRequireAuthException e) {
                gone = true;
                outcome = "turned away";
            } catch (KeeperException e) {
                outcome = e.code().toString();
            } catch (NullPointerException e) {
                // whoAmI does not look at the error of its reply.
                gone = true;
                outcome = "turned away";
            }
            System.out.println(name + " " + what + ": " + outcome);
        }

        String identities() throws Exception {
            List<String> all = new ArrayList<>();
            for (ClientInfo info : zk.whoAmI()) {
                all.add(info.getAuthScheme() + "=" + info.getUser());
            }
            return all.toString();
        }

        String read(String path) throws Exception {
            return new String(zk.getData(path, false, new Stat()));
        }

        @Override
        public void close() throws Exception {
            zk.close();
        }
    }

    static void section(Map<String, AppConfigurationEntry[]> sections, String name, String user, String password) {
        Map<String, String> options = new HashMap<>();
        options.put("username", user);
        options.put("password", password);
        String module = "org.apache.zookeeper.server.auth.DigestLoginModule";
        AppConfigurationEntry entry =
            new AppConfigurationEntry(module, LoginModuleControlFlag.REQUIRED, options);
        sections.put(name, new AppConfigurationEntry[] {entry});
    }

    static List<ACL> acl(int perms, String scheme, String id) {
        return Collections.singletonList(new ACL(perms, new Id(scheme, id)));
    }

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        Map<String, AppConfigurationEntry[]> sections = new HashMap<>();
        section(sections, "Super", "super", "adminsecret");
        section(sections, "Bob", "bob", "bobsecret");
        section(sections, "Alice", "alice", "al ice");
        section(sections, "Umlaut", "jürg", "pä");
        section(sections, "WrongPassword", "bob", "other");
        section(sections, "Stranger", "eve", "x");
        Configuration.setConfiguration(new Configuration() {
            @Override
            public AppConfigurationEntry[] getAppConfigurationEntry(String name) {
                return sections.get(name);
            }
        });
        try (Client bob = new Client("bob", "Bob");
                Client alice = new Client("alice", "Alice");
                Client root = new Client("super", "Super");
                Client nobody = new Client("nobody", null)) {
            List<Client> all = List.of(bob, alice, root, nobody);
            for (Client client : all) {
                client.attempt("is", client::identities);
            }
            bob.attempt("creates", () -> bob.zk.create("/bobs", "b".getBytes(), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
            bob.attempt("has", () -> bob.zk.getACL("/bobs", new Stat()));
            bob.attempt("shares", () -> bob.zk.create("/bobs/shared", "s".getBytes(), acl(Perms.READ | Perms.CREATE, "sasl", "alice"), CreateMode.PERSISTENT));
            bob.attempt("wants an odd id", () -> bob.zk.create("/odd", null, acl(Perms.ALL, "sasl", "a@b@c"), CreateMode.PERSISTENT));
            nobody.attempt("creates", () -> nobody.zk.create("/nobodys", null, Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
            for (Client client : all) {
                client.attempt("reads", () -> client.read("/bobs"));
                client.attempt("reads shared", () -> client.read("/bobs/shared"));
                client.attempt("sees the ACL", () -> client.zk.getACL("/bobs", new Stat()));
                client.attempt("lists", () -> client.zk.getChildren("/bobs", false));
                client.attempt("writes shared", () -> client.zk.setData("/bobs/shared", "t".getBytes(), -1).getVersion());
                client.attempt("adds", () -> client.zk.create("/bobs/shared/by-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL));
                client.attempt("does several things", () -> client.zk.multi(List.of(Op.check("/bobs", -1), Op.setData("/bobs", "m".getBytes(), -1))).size());
                client.attempt("changes the ACL", () -> client.zk.setACL("/bobs", Ids.CREATOR_ALL_ACL, 7).getAversion());
            }
            // More identities on one connection, in both ways.
            bob.zk.addAuthInfo("digest", "u:p".getBytes());
            bob.attempt("is now", bob::identities);
            bob.attempt("creates for both", () -> bob.zk.create("/both", "both".getBytes(), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
            bob.attempt("has both", () -> bob.zk.getACL("/both", new Stat()));
            nobody.zk.addAuthInfo("digest", "u:p".getBytes());
            nobody.attempt("reads as u", () -> nobody.read("/both") );
            nobody.attempt("sees as u", () -> nobody.zk.getACL("/both", new Stat()));
            alice.attempt("reads both", () -> alice.read("/both"));
            nobody.zk.addAuthInfo("sasl", "bob".getBytes());
            nobody.attempt("tries sasl as a scheme", () -> nobody.read("/bobs"));
        }
        try (Client umlaut = new Client("jürg", "Umlaut")) {
            umlaut.attempt("is", umlaut::identities);
        }
        for (String section : List.of("WrongPassword", "Stranger")) {
            try (Client client = new Client(section, section)) {
                client.attempt("reads", () -> client.read("/bobs"));
                client.attempt("asks", () -> client.zk.exists("/", false) != null);
            }
        }
        System.exit(0);
    }
}
