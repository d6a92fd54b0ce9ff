import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.jute.BinaryOutputArchive;
import org.apache.jute.Record;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.MultiOperationRecord;
import org.apache.zookeeper.MultiResponse;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.ZooDefs.OpCode;
import org.apache.zookeeper.common.PathUtils;
import org.apache.zookeeper.data.*;
import org.apache.zookeeper.proto.*;
import org.apache.zookeeper.server.util.SerializeUtils;
import org.apache.zookeeper.txn.*;

/**
 * Writes records with ZooKeeper's own classes, one file each, for common/tests/golden.rs.
 *
 * Usage: java -cp 'jars/*:classes' ZkGolden DIRECTORY
 *
 * request.*: RequestHeader and record; reply.*: ReplyHeader and record; txn.*: a log entry's body;
 * connect.*: a first frame or its answer; data.*: a bare record; paths.tsv: hex of a path's UTF-8,
 * tab, hex of what PathUtils says to it (empty if it is fine).
 */
public class ZkGolden {
    static Path directory;
    static final String PATH = "/golden/å中";
    static final byte[] DATA = {0, 1, 2, (byte) 255};
    static final List<ACL> ACLS = Arrays.asList(
        new ACL(31, new Id("world", "anyone")), new ACL(1, new Id("digest", "bob:aGFzaA==")));
    static final Stat STAT =
        new Stat(0x100000001L, 0x100000002L, 1700000000001L, 1700000000002L, 3, 4, -5,
            0x100000000000006L, 7, 8, 0x100000009L);

    static byte[] bytes(Record... records) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        BinaryOutputArchive archive = BinaryOutputArchive.getArchive(out);
        for (Record record : records) {
            record.serialize(archive, "r");
        }
        return out.toByteArray();
    }

    static void write(String name, byte[] bytes) throws IOException {
        Files.write(directory.resolve(name + ".bin"), bytes);
    }

    static void request(String name, int op, Record... body) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes(new RequestHeader(7, op)));
        out.write(bytes(body));
        write("request." + name, out.toByteArray());
    }

    static void reply(String name, Record... body) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes(new ReplyHeader(7, 0x10000000aL, 0)));
        out.write(bytes(body));
        write("reply." + name, out.toByteArray());
    }

    static void txn(String name, int op, TxnDigest digest, Record... body) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(bytes(new TxnHeader(0x100000000000006L, 7, 0x10000000bL, 1700000000003L, op)));
        out.write(bytes(body));
        if (digest != null) {
            out.write(bytes(digest));
        }
        // Only what ZooKeeper itself reads may become a golden file.
        SerializeUtils.deserializeTxn(out.toByteArray());
        write("txn." + name, out.toByteArray());
    }

    static void connect() throws IOException {
        byte[] password = new byte[16];
        Arrays.fill(password, (byte) 9);
        byte[] ask = bytes(new ConnectRequest(0, 0x100000001L, 30000, 0x100000000000006L, password));
        byte[] answer = bytes(new ConnectResponse(0, 20000, 0x100000000000006L, password));
        write("connect.request_old", ask);
        write("connect.response_old", answer);
        byte[] asked = Arrays.copyOf(ask, ask.length + 1);
        asked[ask.length] = 1;
        write("connect.request", asked);
        write("connect.response", Arrays.copyOf(answer, answer.length + 1));
    }

    static void requests() throws IOException {
        request("create", OpCode.create, new CreateRequest(PATH, DATA, ACLS, 3));
        request("create_null_data", OpCode.create, new CreateRequest(PATH, null, ACLS, 0));
        request("create_empty_data", OpCode.create, new CreateRequest(PATH, new byte[0], ACLS, 0));
        request("create2", OpCode.create2, new CreateRequest(PATH, DATA, ACLS, 2));
        request("createContainer", OpCode.createContainer, new CreateRequest(PATH, DATA, ACLS, 4));
        request("createTTL", OpCode.createTTL, new CreateTTLRequest(PATH, DATA, ACLS, 5, 60000L));
        request("delete", OpCode.delete, new DeleteRequest(PATH, -1));
        request("exists", OpCode.exists, new ExistsRequest(PATH, true));
        request("getData", OpCode.getData, new GetDataRequest(PATH, false));
        request("setData", OpCode.setData, new SetDataRequest(PATH, DATA, 3));
        request("getACL", OpCode.getACL, new GetACLRequest(PATH));
        request("setACL", OpCode.setACL, new SetACLRequest(PATH, ACLS, 2));
        request("getChildren", OpCode.getChildren, new GetChildrenRequest(PATH, true));
        request("getChildren2", OpCode.getChildren2, new GetChildren2Request(PATH, true));
        request("sync", OpCode.sync, new SyncRequest(PATH));
        request("ping", OpCode.ping);
        request("check", OpCode.check, new CheckVersionRequest(PATH, 4));
        request("reconfig", OpCode.reconfig,
            new ReconfigRequest("server.4=h:1:2;3", null, "", 0x100000000L));
        request("checkWatches", OpCode.checkWatches, new CheckWatchesRequest(PATH, 1));
        request("removeWatches", OpCode.removeWatches, new RemoveWatchesRequest(PATH, 3));
        request("auth", OpCode.auth, new AuthPacket(0, "digest", "bob:pass".getBytes()));
        request("setWatches", OpCode.setWatches, new SetWatches(5L, Arrays.asList(PATH, "/b"),
            Collections.emptyList(), Arrays.asList("/c")));
        request("setWatches2", OpCode.setWatches2, new SetWatches2(5L, Arrays.asList(PATH),
            Arrays.asList("/e"), Arrays.asList("/c"), Arrays.asList("/p"), Arrays.asList("/r")));
        request("sasl", OpCode.sasl, new GetSASLRequest(DATA));
        request("getEphemerals", OpCode.getEphemerals, new GetEphemeralsRequest(PATH));
        request("getAllChildrenNumber", OpCode.getAllChildrenNumber,
            new GetAllChildrenNumberRequest(PATH));
        request("addWatch", OpCode.addWatch, new AddWatchRequest(PATH, 1));
        request("whoAmI", OpCode.whoAmI);
        request("closeSession", OpCode.closeSession);
        request("multi", OpCode.multi, new MultiOperationRecord(Arrays.asList(
            Op.check("/c", 4),
            Op.create(PATH, DATA, ACLS, CreateMode.EPHEMERAL_SEQUENTIAL),
            Op.create("/ttl", null, ACLS, CreateMode.PERSISTENT_WITH_TTL, 60000L),
            Op.create("/cont", new byte[0], ACLS, CreateMode.CONTAINER),
            Op.create("/two", DATA,
                org.apache.zookeeper.CreateOptions.newBuilder(ACLS, CreateMode.PERSISTENT).build()),
            Op.setData("/s", DATA, 3),
            Op.delete("/d", -1))));
        request("multiRead", OpCode.multiRead, new MultiOperationRecord(Arrays.asList(
            Op.getData(PATH), Op.getChildren("/c"))));
    }

    static void replies() throws IOException {
        List<String> names = Arrays.asList("a", "å", "");
        reply("create", new CreateResponse(PATH));
        reply("create2", new Create2Response(PATH, STAT));
        reply("exists", new ExistsResponse(STAT));
        reply("getData", new GetDataResponse(DATA, STAT));
        reply("getData_null", new GetDataResponse(null, STAT));
        reply("setData", new SetDataResponse(STAT));
        reply("getACL", new GetACLResponse(ACLS, STAT));
        reply("setACL", new SetACLResponse(STAT));
        reply("getChildren", new GetChildrenResponse(names));
        reply("getChildren2", new GetChildren2Response(names, STAT));
        reply("sync", new SyncResponse(PATH));
        reply("delete");
        reply("sasl", new SetSASLResponse(DATA));
        reply("getEphemerals", new GetEphemeralsResponse(Arrays.asList(PATH)));
        reply("getAllChildrenNumber", new GetAllChildrenNumberResponse(12));
        reply("addWatch", new ErrorResponse(0));
        reply("whoAmI", new WhoAmIResponse(Arrays.asList(
            new ClientInfo("ip", "127.0.0.1"), new ClientInfo("digest", "bob"))));
        MultiResponse good = new MultiResponse();
        good.add(new OpResult.CheckResult());
        good.add(new OpResult.CreateResult(PATH));
        good.add(new OpResult.CreateResult("/two", STAT));
        good.add(new OpResult.SetDataResult(STAT));
        good.add(new OpResult.DeleteResult());
        reply("multi", good);
        MultiResponse bad = new MultiResponse();
        bad.add(new OpResult.ErrorResult(0));
        bad.add(new OpResult.ErrorResult(-101));
        bad.add(new OpResult.ErrorResult(-2));
        reply("multi_failed", bad);
        MultiResponse read = new MultiResponse();
        read.add(new OpResult.GetDataResult(DATA, STAT));
        read.add(new OpResult.GetChildrenResult(names));
        read.add(new OpResult.ErrorResult(-101));
        reply("multiRead", read);
        write("reply.event", bytes(new ReplyHeader(-1, -1, 0), new WatcherEvent(3, 3, PATH)));
    }

    static void txns() throws IOException {
        TxnDigest digest = new TxnDigest(2, 0x1122334455667788L);
        txn("create", OpCode.create, digest, new CreateTxn(PATH, DATA, ACLS, true, 9));
        txn("create_no_digest", OpCode.create, null, new CreateTxn(PATH, null, ACLS, false, 9));
        txn("create_v0", OpCode.create, null, new CreateTxnV0(PATH, DATA, ACLS, true));
        txn("create2", OpCode.create2, digest, new CreateTxn(PATH, new byte[0], ACLS, false, 9));
        txn("createContainer", OpCode.createContainer, digest,
            new CreateContainerTxn(PATH, DATA, ACLS, 9));
        txn("createTTL", OpCode.createTTL, digest, new CreateTTLTxn(PATH, DATA, ACLS, 9, 60000L));
        txn("delete", OpCode.delete, digest, new DeleteTxn(PATH));
        txn("deleteContainer", OpCode.deleteContainer, digest, new DeleteTxn(PATH));
        txn("setData", OpCode.setData, digest, new SetDataTxn(PATH, DATA, 4));
        txn("reconfig", OpCode.reconfig, digest, new SetDataTxn("/zookeeper/config", DATA, -1));
        txn("setACL", OpCode.setACL, digest, new SetACLTxn(PATH, ACLS, 3));
        txn("createSession", OpCode.createSession, digest, new CreateSessionTxn(30000));
        txn("closeSession", OpCode.closeSession, digest,
            new CloseSessionTxn(Arrays.asList(PATH, "/b")));
        txn("closeSession_empty", OpCode.closeSession, null);
        txn("error", OpCode.error, digest, new ErrorTxn(-101));
        List<Txn> parts = new ArrayList<>();
        parts.add(new Txn(OpCode.check, bytes(new CheckVersionTxn("/c", 4))));
        parts.add(new Txn(OpCode.create, bytes(new CreateTxn(PATH, DATA, ACLS, false, 9))));
        parts.add(new Txn(OpCode.createTTL, bytes(new CreateTTLTxn("/t", null, ACLS, 9, 60000L))));
        parts.add(new Txn(OpCode.createContainer,
            bytes(new CreateContainerTxn("/k", null, ACLS, 9))));
        parts.add(new Txn(OpCode.setData, bytes(new SetDataTxn("/s", DATA, 4))));
        parts.add(new Txn(OpCode.delete, bytes(new DeleteTxn("/d"))));
        txn("multi", OpCode.multi, digest, new MultiTxn(parts));
        List<Txn> failed = new ArrayList<>();
        failed.add(new Txn(OpCode.error, bytes(new ErrorTxn(0))));
        failed.add(new Txn(OpCode.error, bytes(new ErrorTxn(-101))));
        txn("multi_failed", OpCode.multi, digest, new MultiTxn(failed));
    }

    static String hex(String text) {
        StringBuilder out = new StringBuilder();
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            out.append(String.format("%02x", b));
        }
        return out.toString();
    }

    static void paths() throws IOException {
        String[] paths = {
            "/", "/a/b c/.x/..y/z.", "/é/中", "", "a", "/a/", "//", "//a", "/a//b", "/.", "/..",
            "/...", "/a/.", "/a/./b", "/a/..", "/a/../b", "/a/..b", "/a/b..", "/a/b.", "/é\u0000",
            "/\u0001", "/\u001f", "/\u0020", "/\u007e", "/\u007f", "/\u009f", "/\u00a0",
            "/\ud7ff", "/\ue000", "/\uf8ff", "/\uf900", "/\uffef", "/\ufff0", "/\uffff",
            "/中\ud83d\ude00", "/\u0001/../", "/a/\u0000/", "/a b/\t",
        };
        StringBuilder out = new StringBuilder();
        for (String path : paths) {
            String told = "";
            try {
                PathUtils.validatePath(path);
            } catch (IllegalArgumentException e) {
                told = e.getMessage();
            }
            out.append(hex(path)).append('\t').append(hex(told)).append('\n');
        }
        Files.write(directory.resolve("paths.tsv"), out.toString().getBytes());
    }

    static void codes() throws IOException {
        StringBuilder out = new StringBuilder();
        for (Code code : Code.values()) {
            if (code == Code.OK) {
                continue;
            }
            String told;
            try {
                told = org.apache.zookeeper.KeeperException.create(code, "/p").getMessage();
            } catch (IllegalArgumentException e) {
                continue;
            }
            out.append(code.intValue()).append('\t').append(told).append('\n');
        }
        Files.write(directory.resolve("codes.tsv"), out.toString().getBytes());
    }

    public static void main(String[] args) throws IOException {
        directory = Path.of(args[0]);
        connect();
        requests();
        replies();
        txns();
        paths();
        codes();
        write("data.stat", bytes(STAT));
        write("data.stat_persisted", bytes(new StatPersisted(0x100000001L, 0x100000002L,
            1700000000001L, 1700000000002L, 3, 4, -5, 0x100000000000006L, 0x100000009L)));
        // A character beyond the basic plane: jute writes its two surrogates.
        write("data.id_surrogates", bytes(new Id("digest", "a\ud83d\ude00")));
    }
}
