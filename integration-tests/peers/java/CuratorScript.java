import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * Uses Curator's recipes with two clients and prints what they do, one fact a line.
 *
 * Whatever has no order is sorted before it is printed. The server must know TTL znodes.
 *
 * Usage: CuratorScript HOST:PORT
 */
public class CuratorScript {
    static final long LIMIT_MS = 30_000;
    static final ExecutorService THREADS = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    });
    static String address;
    static CuratorFramework one;
    static CuratorFramework two;

    static CuratorFramework client() throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
            .connectString(address)
            .sessionTimeoutMs(20_000)
            .connectionTimeoutMs(15_000)
            .retryPolicy(new RetryNTimes(40, 250))
            .authorization("digest", "curator:secret".getBytes())
            .build();
        client.start();
        if (!client.blockUntilConnected(30, TimeUnit.SECONDS)) {
            throw new IllegalStateException("no connection");
        }
        return client;
    }

    static void say(String what, Object value) {
        System.out.println(what + ": " + value);
    }

    static void attempt(String what, Callable<Object> call) throws Exception {
        try {
            say(what, call.call());
        } catch (KeeperException e) {
            say(what, e.code());
        }
    }

    static void await(String what, BooleanSupplier done) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(LIMIT_MS);
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                say(what, "NEVER");
                return;
            }
            Thread.sleep(5);
        }
        say(what, "yes");
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? "null" : new String(bytes, StandardCharsets.UTF_8);
    }

    /** Names without the random part that protects their creation. */
    static String names(Collection<String> names) {
        return names.stream()
            .map(name -> name.replaceAll("_c_[-0-9a-f]{36}-", "").replaceAll("[-0-9a-f]{36}", "<uuid>"))
            .sorted()
            .collect(Collectors.joining(" "));
    }

    static String children(String path) throws Exception {
        return names(one.getChildren().forPath(path));
    }

    /** Collects events, and prints them in order of their text once enough have come. */
    static final class Events {
        final List<String> seen = Collections.synchronizedList(new ArrayList<>());

        void add(Object event) {
            seen.add(String.valueOf(event));
        }

        void print(String what, int count) throws Exception {
            await(what + " has " + count, () -> seen.size() >= count);
            List<String> all = new ArrayList<>(seen);
            Collections.sort(all);
            say(what, all);
            seen.clear();
        }
    }

    /**
     * Ends a client's session as the server would: from elsewhere. The client may take its session back before it is
     * closed; then once more.
     */
    static void endSession(CuratorFramework client) throws Exception {
        ZooKeeper zk = client.getZookeeperClient().getZooKeeper();
        long session = zk.getSessionId();
        byte[] password = zk.getSessionPasswd();
        for (int attempt = 0; attempt < 10; attempt++) {
            CountDownLatch connected = new CountDownLatch(1);
            ZooKeeper twin = new ZooKeeper(address, 20_000, event -> connected.countDown(), session, password);
            connected.await(30, TimeUnit.SECONDS);
            twin.close();
            for (int wait = 0; wait < 300; wait++) {
                try {
                    if (client.getZookeeperClient().getZooKeeper().getSessionId() != session) {
                        return;
                    }
                } catch (KeeperException e) {
                    // Between two sessions.
                }
                Thread.sleep(10);
            }
        }
        say("session", "STILL THERE");
    }

    static void nodes() throws Exception {
        say("create", one.create().creatingParentsIfNeeded().forPath("/nodes/a/b", bytes("x")));
        say("containers", one.create().creatingParentContainersIfNeeded().forPath("/boxes/a", bytes("")));
        say("protected", names(List.of(one.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/nodes/p-"))));
        say("ttl", one.create().withTtl(60_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/nodes/ttl"));
        say("or set", one.create().orSetData().forPath("/nodes/a/b", bytes("y")));
        attempt("again", () -> one.create().forPath("/nodes/a/b"));
        Stat stat = new Stat();
        say("data", text(one.getData().storingStatIn(stat).forPath("/nodes/a/b")) + " " + stat.getVersion());
        attempt("stale", () -> one.setData().withVersion(7).forPath("/nodes/a/b"));
        say("mine", one.create().withACL(Ids.CREATOR_ALL_ACL).forPath("/nodes/mine"));
        say("acl", one.getACL().forPath("/nodes/mine"));
        List<CuratorTransactionResult> results = one.transaction().forOperations(
            one.transactionOp().create().forPath("/nodes/t", bytes("1")),
            one.transactionOp().check().withVersion(0).forPath("/nodes/t"),
            one.transactionOp().setData().forPath("/nodes/t", bytes("2")),
            one.transactionOp().delete().forPath("/nodes/t"));
        say("transaction", results.stream().map(r -> r.getType() + " " + r.getForPath() + " " + r.getError()).collect(Collectors.toList()));
        attempt("failing transaction", () -> one.transaction().forOperations(
            one.transactionOp().create().forPath("/nodes/t"),
            one.transactionOp().check().withVersion(3).forPath("/nodes/t")));
        say("all", one.getZookeeperClient().getZooKeeper().getAllChildrenNumber("/nodes"));
        say("config", text(one.getConfig().forEnsemble()));
        Events events = new Events();
        one.sync().inBackground((client, event) -> events.add(event.getType() + " " + event.getPath())).forPath("/nodes");
        one.getChildren().inBackground((client, event) -> events.add(event.getType() + " " + names(event.getChildren()))).forPath("/nodes");
        one.checkExists().inBackground((client, event) -> events.add(event.getType() + " " + event.getResultCode())).forPath("/none");
        events.print("background", 3);
        one.delete().guaranteed().deletingChildrenIfNeeded().forPath("/nodes");
        say("left", one.checkExists().forPath("/nodes"));
    }

    static void leaders() throws Exception {
        Events events = new Events();
        LeaderLatch first = new LeaderLatch(one, "/latch", "first");
        LeaderLatch second = new LeaderLatch(two, "/latch", "second");
        first.start();
        say("first leads", first.await(30, TimeUnit.SECONDS));
        second.start();
        await("both take part", () -> {
            try {
                return second.getParticipants().size() == 2;
            } catch (Exception e) {
                return false;
            }
        });
        say("leader", second.getLeader());
        say("participants", second.getParticipants().stream().map(Object::toString).sorted().collect(Collectors.toList()));
        say("latch", children("/latch"));
        endSession(one);
        say("second leads", second.await(30, TimeUnit.SECONDS));
        one.blockUntilConnected(30, TimeUnit.SECONDS);
        await("first is back", () -> {
            try {
                return second.getParticipants().size() == 2 && !first.hasLeadership();
            } catch (Exception e) {
                return false;
            }
        });
        second.close();
        say("first leads again", first.await(30, TimeUnit.SECONDS));
        first.close();
        say("latch", children("/latch"));

        List<LeaderSelector> selectors = new ArrayList<>();
        LinkedBlockingQueue<String> turns = new LinkedBlockingQueue<>();
        for (int i = 0; i < 3; i++) {
            String name = "s" + i;
            LeaderSelector selector = new LeaderSelector(i % 2 == 0 ? one : two, "/selector", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) throws Exception {
                    turns.add(name);
                    Thread.sleep(50);
                }
            });
            selector.setId(name);
            selectors.add(selector);
            selector.start();
            int count = i + 1;
            await("selector " + i, () -> {
                try {
                    return turns.size() >= count || selector.getParticipants().size() >= 1;
                } catch (Exception e) {
                    return false;
                }
            });
        }
        await("all led", () -> turns.size() == 3);
        say("turns", new ArrayList<>(turns).stream().sorted().collect(Collectors.toList()));
        selectors.forEach(LeaderSelector::close);
    }

    static void locks() throws Exception {
        InterProcessMutex mine = new InterProcessMutex(one, "/locks/mutex");
        InterProcessMutex theirs = new InterProcessMutex(two, "/locks/mutex");
        mine.acquire();
        mine.acquire();
        say("held twice", children("/locks/mutex"));
        say("they get it", theirs.acquire(300, TimeUnit.MILLISECONDS));
        Future<Boolean> waiting = THREADS.submit(() -> {
            boolean got = theirs.acquire(30, TimeUnit.SECONDS);
            theirs.release();
            return got;
        });
        await("they wait", () -> {
            try {
                return mine.getParticipantNodes().size() == 2;
            } catch (Exception e) {
                return false;
            }
        });
        say("nodes", children("/locks/mutex"));
        mine.release();
        say("still waiting", !waiting.isDone());
        mine.release();
        say("they got it", waiting.get(30, TimeUnit.SECONDS));
        say("free", children("/locks/mutex"));
        int[] counter = {0};
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            InterProcessMutex lock = new InterProcessMutex(i % 2 == 0 ? one : two, "/locks/many");
            all.add(THREADS.submit(() -> {
                for (int turn = 0; turn < 10; turn++) {
                    lock.acquire();
                    int seen = counter[0];
                    Thread.yield();
                    counter[0] = seen + 1;
                    lock.release();
                }
                return null;
            }));
        }
        for (Future<?> each : all) {
            each.get(60, TimeUnit.SECONDS);
        }
        say("counted under the lock", counter[0]);

        InterProcessSemaphoreMutex simple = new InterProcessSemaphoreMutex(one, "/locks/simple");
        say("simple", simple.acquire(30, TimeUnit.SECONDS));
        say("simple again", simple.acquire(200, TimeUnit.MILLISECONDS));
        simple.release();
        InterProcessReadWriteLock readers = new InterProcessReadWriteLock(one, "/locks/rw");
        InterProcessReadWriteLock writers = new InterProcessReadWriteLock(two, "/locks/rw");
        readers.readLock().acquire();
        say("second reader", writers.readLock().acquire(30, TimeUnit.SECONDS));
        writers.readLock().release();
        say("writer beside reader", writers.writeLock().acquire(200, TimeUnit.MILLISECONDS));
        say("rw", children("/locks/rw"));
        readers.readLock().release();
        say("writer", writers.writeLock().acquire(30, TimeUnit.SECONDS));
        say("reader beside writer", readers.readLock().acquire(200, TimeUnit.MILLISECONDS));
        writers.writeLock().release();
        InterProcessSemaphoreV2 leases = new InterProcessSemaphoreV2(one, "/locks/semaphore", 2);
        Lease lease = leases.acquire();
        leases.acquire(1, 30, TimeUnit.SECONDS);
        say("third lease", leases.acquire(200, TimeUnit.MILLISECONDS));
        leases.returnLease(lease);
        say("third lease then", leases.acquire(30, TimeUnit.SECONDS) != null);
        InterProcessMultiLock both = new InterProcessMultiLock(one, List.of("/locks/m1", "/locks/m2"));
        say("multi", both.acquire(30, TimeUnit.SECONDS));
        say("part of it", new InterProcessMutex(two, "/locks/m2").acquire(200, TimeUnit.MILLISECONDS));
        both.release();
    }

    static void barriers() throws Exception {
        DistributedBarrier barrier = new DistributedBarrier(one, "/barrier");
        barrier.setBarrier();
        Future<Boolean> waiting = THREADS.submit(() -> new DistributedBarrier(two, "/barrier").waitOnBarrier(30, TimeUnit.SECONDS));
        say("blocked", !new DistributedBarrier(one, "/barrier").waitOnBarrier(200, TimeUnit.MILLISECONDS));
        barrier.removeBarrier();
        say("free", waiting.get(30, TimeUnit.SECONDS));
        List<Future<String>> all = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            CuratorFramework client = i % 2 == 0 ? one : two;
            all.add(THREADS.submit(() -> {
                DistributedDoubleBarrier door = new DistributedDoubleBarrier(client, "/double", 4);
                boolean in = door.enter(30, TimeUnit.SECONDS);
                return in + " " + door.leave(30, TimeUnit.SECONDS);
            }));
        }
        for (Future<String> each : all) {
            say("double barrier", each.get(60, TimeUnit.SECONDS));
        }
        say("double barrier left", one.checkExists().forPath("/double/ready") == null);
    }

    static void change(String root) throws Exception {
        two.create().creatingParentsIfNeeded().forPath(root + "/x/y", bytes("1"));
        two.create().withMode(CreateMode.EPHEMERAL).forPath(root + "/e", bytes("2"));
        two.setData().forPath(root + "/x/y", bytes("3"));
        two.setData().forPath(root + "/x", bytes("4"));
        two.delete().forPath(root + "/x/y");
        two.delete().forPath(root + "/e");
    }

    static void caches() throws Exception {
        one.create().forPath("/tree", bytes("t"));
        one.create().forPath("/tree/old", bytes("o"));
        Events events = new Events();
        try (CuratorCache cache = CuratorCache.build(one, "/tree")) {
            cache.listenable().addListener((type, before, after) ->
                events.add(type + " " + (before == null ? "-" : before.getPath() + "=" + text(before.getData())) + " "
                    + (after == null ? "-" : after.getPath() + "=" + text(after.getData()))));
            cache.start();
            events.print("cache begins", 2);
            two.create().forPath("/tree/n", bytes("1"));
            events.print("cache created", 1);
            two.setData().forPath("/tree/n", bytes("2"));
            events.print("cache changed", 1);
            two.delete().forPath("/tree/n");
            events.print("cache deleted", 1);
            say("cached", names(cache.stream().map(data -> data.getPath() + "=" + text(data.getData())).collect(Collectors.toList())));
        }
        try (TreeCache cache = new TreeCache(one, "/tree")) {
            cache.getListenable().addListener((client, event) -> events.add(event.getType() + " " + (event.getData() == null ? "" : event.getData().getPath())));
            cache.start();
            events.print("tree cache begins", 3);
            two.create().forPath("/tree/n", bytes("1"));
            events.print("tree cache created", 1);
            two.setData().forPath("/tree/n", bytes("2"));
            events.print("tree cache changed", 1);
            two.delete().forPath("/tree/n");
            events.print("tree cache deleted", 1);
        }
        try (PathChildrenCache cache = new PathChildrenCache(one, "/tree", true)) {
            cache.getListenable().addListener((client, event) -> events.add(event.getType() + " " + (event.getData() == null ? "" : event.getData().getPath())));
            cache.start(PathChildrenCache.StartMode.POST_INITIALIZED_EVENT);
            events.print("children cache begins", 2);
            two.create().forPath("/tree/n", bytes("1"));
            events.print("children cache created", 1);
            two.setData().forPath("/tree/n", bytes("2"));
            events.print("children cache changed", 1);
            two.delete().forPath("/tree/n");
            events.print("children cache deleted", 1);
        }
        try (NodeCache cache = new NodeCache(one, "/node")) {
            cache.getListenable().addListener(() -> events.add(cache.getCurrentData() == null ? "none" : text(cache.getCurrentData().getData())));
            cache.start(true);
            two.create().forPath("/node", bytes("1"));
            events.print("node cache created", 1);
            two.setData().forPath("/node", bytes("2"));
            events.print("node cache changed", 1);
            two.delete().forPath("/node");
            events.print("node cache deleted", 1);
        }
        for (boolean recursive : new boolean[] {false, true}) {
            String root = "/watched-" + recursive;
            one.create().forPath(root);
            CountDownLatch set = new CountDownLatch(1);
            try (PersistentWatcher watcher = new PersistentWatcher(one, root, recursive)) {
                watcher.getListenable().addListener(event -> events.add(event.getType() + " " + event.getPath()));
                watcher.getResetListenable().addListener(set::countDown);
                watcher.start();
                set.await(30, TimeUnit.SECONDS);
                change(root);
                two.setData().forPath(root, bytes("end"));
                events.print("persistent watcher", recursive ? 8 : 4);
                // Again after the session has been lost.
                CountDownLatch reset = new CountDownLatch(1);
                watcher.getResetListenable().addListener(reset::countDown);
                endSession(one);
                say("watcher set again", reset.await(30, TimeUnit.SECONDS));
                events.seen.clear();
                two.setData().forPath(root, bytes("again"));
                await("persistent watcher after another session", () -> events.seen.contains("NodeDataChanged " + root));
            }
            events.seen.clear();
        }
    }

    static void counters() throws Exception {
        DistributedAtomicLong number = new DistributedAtomicLong(one, "/number", new RetryOneTime(10));
        say("initialize", number.initialize(5L));
        AtomicValue<Long> value = number.add(37L);
        say("add", value.succeeded() + " " + value.preValue() + " " + value.postValue());
        say("compare and set", number.compareAndSet(1L, 2L).succeeded());
        SharedCount count = new SharedCount(one, "/count", 1);
        SharedCount copy = new SharedCount(two, "/count", 1);
        count.start();
        copy.start();
        say("versioned", count.trySetCount(count.getVersionedValue(), 8));
        await("copied", () -> copy.getCount() == 8);
        say("stale", count.trySetCount(new SharedCount(one, "/count", 1).getVersionedValue(), 9));
        count.close();
        copy.close();
    }

    static void queues() throws Exception {
        SimpleDistributedQueue simple = new SimpleDistributedQueue(one, "/simple");
        for (String item : List.of("a", "b", "c")) {
            simple.offer(bytes(item));
        }
        say("queue", children("/simple"));
        say("peek", text(simple.peek()));
        say("take", text(new SimpleDistributedQueue(two, "/simple").take()) + text(simple.poll(1, TimeUnit.SECONDS)) + text(simple.remove()));
        say("empty", simple.poll(100, TimeUnit.MILLISECONDS));
        LinkedBlockingQueue<String> taken = new LinkedBlockingQueue<>();
        QueueConsumer<String> consumer = new QueueConsumer<>() {
            @Override
            public void consumeMessage(String message) {
                taken.add(message);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {
            }
        };
        QueueSerializer<String> serializer = new QueueSerializer<>() {
            @Override
            public byte[] serialize(String item) {
                return bytes(item);
            }

            @Override
            public String deserialize(byte[] data) {
                return text(data);
            }
        };
        try (DistributedQueue<String> queue = QueueBuilder.builder(one, consumer, serializer, "/queue").lockPath("/queue-locks").buildQueue()) {
            queue.start();
            for (int i = 0; i < 5; i++) {
                queue.put("item" + i);
            }
            await("consumed", () -> taken.size() == 5);
            say("in order", taken);
            await("emptied", () -> {
                try {
                    return one.getChildren().forPath("/queue").isEmpty();
                } catch (Exception e) {
                    return false;
                }
            });
        }
    }

    static void members() throws Exception {
        GroupMember first = new GroupMember(one, "/group", "first", bytes("1"));
        GroupMember second = new GroupMember(two, "/group", "second", bytes("2"));
        first.start();
        second.start();
        await("members", () -> first.getCurrentMembers().size() == 2);
        // A member counts itself before its znode is there.
        await("znodes of members", () -> {
            try {
                return one.getChildren().forPath("/group").size() == 2;
            } catch (Exception e) {
                return false;
            }
        });
        say("group", children("/group"));
        second.close();
        await("one member", () -> first.getCurrentMembers().size() == 1);
        first.close();
        PersistentNode node = new PersistentNode(one, CreateMode.EPHEMERAL, false, "/persistent", bytes("p"));
        node.start();
        say("created", node.waitForInitialCreate(30, TimeUnit.SECONDS));
        two.delete().forPath("/persistent");
        await("created again", () -> {
            try {
                return two.checkExists().forPath("/persistent") != null;
            } catch (Exception e) {
                return false;
            }
        });
        endSession(one);
        one.blockUntilConnected(30, TimeUnit.SECONDS);
        await("created in another session", () -> {
            try {
                Stat stat = two.checkExists().forPath("/persistent");
                return stat != null && stat.getEphemeralOwner() == one.getZookeeperClient().getZooKeeper().getSessionId();
            } catch (Exception e) {
                return false;
            }
        });
        node.close();
        PersistentTtlNode ttl = new PersistentTtlNode(one, "/ttl", 60_000, bytes("t"));
        ttl.start();
        say("ttl", ttl.waitForInitialCreate(30, TimeUnit.SECONDS));
        await("touched", () -> {
            try {
                return two.checkExists().forPath("/ttl") != null;
            } catch (Exception e) {
                return false;
            }
        });
        ttl.close();
    }

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        one = client();
        two = client();
        nodes();
        leaders();
        locks();
        barriers();
        caches();
        counters();
        queues();
        members();
        // Whether it is there still depends on when its last touch came.
        one.delete().quietly().deletingChildrenIfNeeded().forPath("/ttl");
        say("znodes", children("/"));
        one.close();
        two.close();
        System.exit(0);
    }
}
