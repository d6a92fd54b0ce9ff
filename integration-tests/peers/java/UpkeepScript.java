import java.io.File;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.StatsTrack;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.cli.DelQuotaCommand;
import org.apache.zookeeper.cli.SetQuotaCommand;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.ZooDefs.OpCode;
import org.apache.zookeeper.server.persistence.FileTxnLog;
import org.apache.zookeeper.txn.CreateTxn;
import org.apache.zookeeper.txn.TxnHeader;

/**
 * Works on what a server keeps in order by itself, containers, TTL znodes and quotas, and says what it saw.
 *
 * Usage: UpkeepScript HOST:PORT expiry|quota|random-quota|old-ttl [SEED]
 *        UpkeepScript DIRECTORY write-old-ttl
 */
public class UpkeepScript {
    static ZooKeeper zk;
    /** A server that is slow to delete may try it once more, which takes a zxid. */
    static boolean expiring;
    static LinkedBlockingQueue<String> events = new LinkedBlockingQueue<>();

    public static void main(String[] arguments) throws Exception {
        if (arguments[1].equals("write-old-ttl")) {
            writeOldTtl(new File(arguments[0]));
            System.out.println("end of the script");
            return;
        }
        zk = connect(arguments[0]);
        switch (arguments[1]) {
            case "expiry": expiry(arguments[0]); break;
            case "quota": quota(); break;
            case "old-ttl": oldTtl(); break;
            default: randomQuota(Long.parseLong(arguments[2]));
        }
        zk.close();
        System.out.println("end of the script");
    }

    static ZooKeeper connect(String server) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper client = new ZooKeeper(server, 30000, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        connected.await();
        return client;
    }

    static byte[] bytes(int length) {
        return new byte[length];
    }

    static void say(String what, Callable<Object> call) {
        String result;
        try {
            result = String.valueOf(call.call());
        } catch (KeeperException e) {
            result = e.code() + " " + e.getPath();
        } catch (Exception e) {
            result = e.getClass().getSimpleName() + " " + e.getMessage();
        }
        System.out.println(what + ": " + result);
    }

    static String stat(Stat stat) {
        return stat == null ? "none" : "version=" + stat.getVersion() + " cversion=" + stat.getCversion()
            + " owner=" + Long.toHexString(stat.getEphemeralOwner()) + " length=" + stat.getDataLength()
            + " children=" + stat.getNumChildren() + (expiring ? "" : " czxid=" + Long.toHexString(stat.getCzxid())
            + " mzxid=" + Long.toHexString(stat.getMzxid()) + " pzxid=" + Long.toHexString(stat.getPzxid()));
    }

    static Object create(String path, CreateMode mode, long ttl) throws Exception {
        Stat stat = new Stat();
        String made = mode.isTTL()
            ? zk.create(path, bytes(3), Ids.OPEN_ACL_UNSAFE, mode, stat, ttl)
            : zk.create(path, bytes(3), Ids.OPEN_ACL_UNSAFE, mode, stat);
        return made + " " + stat(stat);
    }

    /** Waits until the paths have gone, in whatever order, and says so. */
    static void gone(String... paths) throws Exception {
        List<String> left = new ArrayList<>(List.of(paths));
        long end = System.currentTimeMillis() + 30000;
        while (!left.isEmpty() && System.currentTimeMillis() < end) {
            for (String path : new ArrayList<>(left)) {
                if (zk.exists(path, false) == null) {
                    left.remove(path);
                }
            }
            Thread.sleep(20);
        }
        System.out.println("gone: " + String.join(" ", paths) + (left.isEmpty() ? "" : " but for " + left));
    }

    /** Several checks pass; these are still there. */
    static void stay(String... paths) throws Exception {
        Thread.sleep(1000);
        for (String path : paths) {
            say("still there " + path, () -> stat(zk.exists(path, false)));
        }
    }

    static void events(int count) throws Exception {
        List<String> seen = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            seen.add(String.valueOf(events.poll(10, TimeUnit.SECONDS)));
        }
        Collections.sort(seen);
        System.out.println("events: " + seen);
    }

    static void expiry(String server) throws Exception {
        expiring = true;
        Watcher collect = event -> {
            if (event.getType() != Watcher.Event.EventType.None) {
                events.add(event.getType() + " " + event.getPath());
            }
        };
        say("container", () -> create("/c", CreateMode.CONTAINER, -1));
        stay("/c");
        zk.addWatch("/c", collect, AddWatchMode.PERSISTENT_RECURSIVE);
        zk.getChildren("/", collect);
        say("child", () -> create("/c/x", CreateMode.PERSISTENT, -1));
        say("delete", () -> { zk.delete("/c/x", -1); return "ok"; });
        gone("/c");
        events(4);

        say("outer", () -> create("/p", CreateMode.CONTAINER, -1));
        say("inner", () -> create("/p/q", CreateMode.CONTAINER, -1));
        say("leaf", () -> create("/p/q/r", CreateMode.PERSISTENT, -1));
        stay("/p", "/p/q");
        say("delete", () -> { zk.delete("/p/q/r", -1); return "ok"; });
        gone("/p", "/p/q");

        say("of a session", () -> create("/s", CreateMode.CONTAINER, -1));
        ZooKeeper other = connect(server);
        other.create("/s/e", bytes(0), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        stay("/s");
        other.close();
        gone("/s");
        say("never used", () -> create("/n", CreateMode.CONTAINER, -1));
        stay("/n");
        gone("/n");

        say("ttl", () -> create("/t", CreateMode.PERSISTENT_WITH_TTL, 300));
        gone("/t");
        say("ttl with a child", () -> create("/t", CreateMode.PERSISTENT_WITH_TTL, 2500));
        say("child", () -> create("/t/x", CreateMode.PERSISTENT, -1));
        Thread.sleep(2500);
        stay("/t");
        say("delete", () -> { zk.delete("/t/x", -1); return "ok"; });
        gone("/t");
        String sequential = zk.create("/q-", bytes(1), Ids.OPEN_ACL_UNSAFE,
            CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, new Stat(), 300);
        System.out.println(sequential);
        gone(sequential);
        say("kept by changes", () -> create("/k", CreateMode.PERSISTENT_WITH_TTL, 3000));
        for (int i = 0; i < 16; i++) {
            Thread.sleep(250);
            zk.setData("/k", bytes(i), -1);
        }
        say("kept", () -> stat(zk.exists("/k", false)));
        gone("/k");
        for (long ttl : new long[] {0, -1, -5, 1, 0xffffffffffL, 0x10000000000L, Long.MAX_VALUE}) {
            String path = "/ttl" + Long.toHexString(ttl);
            say("ttl of " + ttl, () -> create(path, CreateMode.PERSISTENT_WITH_TTL, ttl));
        }
        gone("/ttl1");
        say("the longest", () -> stat(zk.exists("/ttlffffffffff", false)));
        List<String> left = zk.getChildren("/", false);
        Collections.sort(left);
        System.out.println("left: " + left);
    }

    /** A log with znodes whose owners are TTLs of 3.5.3, of now, and sessions that have ended. */
    static void writeOldTtl(File directory) throws Exception {
        FileTxnLog log = new FileTxnLog(directory);
        long[] owners = {0x80000000000003e8L, 0x800000ffffffffffL, 0xff000000000003e8L, 0xfe00000000000001L, 0x100000000000001L};
        for (int i = 0; i < owners.length; i++) {
            TxnHeader header = new TxnHeader(owners[i], 1, i + 1, System.currentTimeMillis(), OpCode.create);
            log.append(header, new CreateTxn("/o" + i, bytes(2), Ids.OPEN_ACL_UNSAFE, true, i + 1));
        }
        log.commit();
        log.close();
    }

    static void oldTtl() throws Exception {
        Thread.sleep(3000);
        for (int i = 0; i < 5; i++) {
            String path = "/o" + i;
            say(path, () -> stat(zk.exists(path, false)));
        }
    }

    static final String QUOTA = "/zookeeper/quota";

    static void track(String path) {
        say("  stats", () -> new String(zk.getData(QUOTA + path + "/zookeeper_stats", false, null), StandardCharsets.UTF_8));
    }

    static StatsTrack limits(long count, long bytes, long countHard, long bytesHard) {
        StatsTrack track = new StatsTrack();
        track.setCount(count);
        track.setBytes(bytes);
        track.setCountHardLimit(countHard);
        track.setByteHardLimit(bytesHard);
        return track;
    }

    static Object put(String path, int length) throws Exception {
        return zk.create(path, bytes(length), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
    }

    static void quota() throws Exception {
        say("no node", () -> SetQuotaCommand.createQuota(zk, "/none", limits(1, 1, 1, 1)));
        put("/a", 10);
        put("/a/b", 10);
        say("hard", () -> SetQuotaCommand.createQuota(zk, "/a", limits(2, 15, 4, 60)));
        track("/a");
        say("limits", () -> new String(zk.getData(QUOTA + "/a/zookeeper_limits", false, null), StandardCharsets.UTF_8));
        say("third", () -> put("/a/c", 10));
        say("fourth", () -> put("/a/c/d", 10));
        track("/a");
        say("fifth", () -> put("/a/e", 0));
        track("/a");
        say("longer", () -> stat(zk.setData("/a", bytes(30), -1)));
        track("/a");
        say("too long", () -> stat(zk.setData("/a", bytes(31), -1)));
        say("shorter", () -> stat(zk.setData("/a", bytes(1), -1)));
        say("null", () -> stat(zk.setData("/a/b", null, -1)));
        track("/a");
        say("delete", () -> { zk.delete("/a/c/d", -1); return "ok"; });
        track("/a");
        say("inside another", () -> SetQuotaCommand.createQuota(zk, "/a/b", limits(1, 1, -1, -1)));
        say("around another", () -> SetQuotaCommand.createQuota(zk, "/", limits(9, 9, -1, -1)));
        List<Op> ops = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            ops.add(Op.create("/a/m" + i, bytes(1), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT));
        }
        say("multi", () -> {
            try {
                return zk.multi(ops).size();
            } catch (KeeperException e) {
                StringBuilder results = new StringBuilder(String.valueOf(e.code()));
                for (OpResult result : e.getResults()) {
                    results.append(' ').append(result instanceof OpResult.ErrorResult
                        ? ((OpResult.ErrorResult) result).getErr() : result.getType());
                }
                return results;
            }
        });
        track("/a");
        say("swap", () -> zk.multi(List.of(Op.delete("/a/b", -1),
            Op.create("/a/n", bytes(5), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL))).size());
        track("/a");
        say("sequential", () -> zk.create("/a/s-", bytes(1), Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL));
        say("sequential", () -> zk.create("/a/s-", bytes(1), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL));
        track("/a");
        say("lower", () -> SetQuotaCommand.createQuota(zk, "/a", limits(1, 1, 1, 1)));
        say("over", () -> put("/a/over", 1));
        say("delete", () -> { zk.delete("/a/n", -1); return "ok"; });
        say("write less", () -> stat(zk.setData("/a", bytes(0), -1)));
        say("write more", () -> stat(zk.setData("/a", bytes(2), -1)));
        track("/a");
        String[] odd = {"", "count=", "count=x,bytes=y", "count=3", "count=3,bytes=-1=;byteHardLimit=5;countHardLimit=7",
            "count=1,bytes=1=;countHardLimit=2", "bytes=1,count=1", "count=1,bytes=1=;byteHardLimit=a;countHardLimit=b",
            "count=99999999999999999999,bytes=1", " count=1 , bytes=2 ", "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=-1",
            "count=1,bytes=1,count=2", "=;=", "count=1;bytes=2"};
        for (String text : odd) {
            say("odd limits '" + text + "'", () -> stat(zk.setData(QUOTA + "/a/zookeeper_limits", text.getBytes(), -1)));
            say("  create", () -> put("/a/odd", 2));
            say("  set", () -> stat(zk.setData("/a/c", bytes(12), -1)));
            say("  set", () -> stat(zk.setData("/a/c", bytes(1), -1)));
            say("  delete", () -> { zk.delete("/a/odd", -1); return "ok"; });
            track("/a");
        }
        String[] oddStats = {"", "count=1", "count=100,bytes=100", "count=-5,bytes=-7=;byteHardLimit=1;countHardLimit=1"};
        for (String text : oddStats) {
            say("odd stats '" + text + "'", () -> stat(zk.setData(QUOTA + "/a/zookeeper_stats", text.getBytes(), -1)));
            say("  create", () -> put("/a/odd", 2));
            say("  delete", () -> { zk.delete("/a/odd", -1); return "ok"; });
            track("/a");
        }
        say("drop a limit", () -> DelQuotaCommand.delQuota(zk, "/a", limits(1, -1, -1, -1)));
        say("limits", () -> new String(zk.getData(QUOTA + "/a/zookeeper_limits", false, null), StandardCharsets.UTF_8));
        say("drop all", () -> DelQuotaCommand.delQuota(zk, "/a", null));
        say("stats", () -> stat(zk.exists(QUOTA + "/a/zookeeper_stats", false)));
        say("free", () -> put("/a/free", 100));
        put("/z", 1);
        say("again", () -> SetQuotaCommand.createQuota(zk, "/z", limits(5, 5, -1, 3)));
        say("too long", () -> put("/z/y", 9));
        say("fits", () -> put("/z/y", 1));
        say("delete", () -> { zk.delete("/z/y", -1); zk.delete("/z", -1); return "ok"; });
        track("/z");
        say("create again", () -> put("/z", 2));
        track("/z");
        say("too long", () -> put("/z/y", 2));
        say("whole", () -> { List<String> all = new ArrayList<>(zk.getChildren(QUOTA, false)); Collections.sort(all); return all; });
    }

    /** Random writes under random quotas. */
    static void randomQuota(long seed) throws Exception {
        Random random = new Random(seed);
        String[] paths = {"/r", "/r/a", "/r/a/b", "/r/c", "/s", "/s/d", "/s/d/e", "/s/d/f"};
        for (int i = 0; i < 800; i++) {
            String path = paths[random.nextInt(paths.length)];
            int length = random.nextInt(40);
            switch (random.nextInt(8)) {
                case 0: case 1: say("create " + path, () -> put(path, length)); break;
                case 2: case 3: say("set " + path, () -> stat(zk.setData(path, bytes(length), -1))); break;
                case 4: say("delete " + path, () -> { zk.delete(path, -1); return "ok"; }); break;
                case 5:
                    StatsTrack track = limits(random.nextInt(6) - 1, random.nextInt(80) - 1, random.nextInt(7) - 1, random.nextInt(150) - 1);
                    say("quota " + path, () -> SetQuotaCommand.createQuota(zk, path, track));
                    break;
                case 6:
                    if (random.nextInt(3) == 0) {
                        say("no quota " + path, () -> DelQuotaCommand.delQuota(zk, path, null));
                    }
                    break;
                default: {
                    String other = paths[random.nextInt(paths.length)];
                    say("multi", () -> zk.multi(List.of(Op.setData(path, bytes(length), -1),
                        Op.create(other, bytes(3), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT))).size());
                }
            }
            track("/r");
            track("/s");
            track("/s/d");
        }
    }
}
