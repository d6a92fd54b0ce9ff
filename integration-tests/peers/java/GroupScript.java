import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.DataInputStream;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.requests.RequestHeader;

/**
 * Plays one script of raw group requests against a broker and prints each answer as a line of JSON.
 *
 * Two brokers that behave alike print the same: random ids are numbered in the order of their first
 * appearance, lists of objects are sorted, ports are left out. The broker must have a group size limit
 * of 3, a least session timeout of 500 ms and an initial rebalance delay of 500 ms.
 *
 * Usage: GroupScript HOST:PORT
 */
public class GroupScript {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Pattern UUID = Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");
    static final Map<String, String> UUIDS = new LinkedHashMap<>();
    static String host;
    static int port;

    /** One connection; requests on it are answered in order. */
    static class Client implements AutoCloseable {
        final Socket socket;
        final DataInputStream in;
        final String clientId;
        ApiKeys pending;
        short pendingVersion;

        Client(String clientId) throws Exception {
            this.clientId = clientId;
            socket = new Socket(host, port);
            socket.setSoTimeout(30_000);
            in = new DataInputStream(socket.getInputStream());
        }

        /** Sends; fields that are not given have their defaults. */
        void begin(ApiKeys api, int version, ObjectNode fields) throws Exception {
            pending = api;
            pendingVersion = (short) version;
            ApiMessage empty = api.messageType.newRequest();
            ObjectNode json = (ObjectNode) toJson(empty, pendingVersion);
            json.setAll(fields);
            ApiMessage request = (ApiMessage) converter(empty).getMethod("read", JsonNode.class, short.class)
                .invoke(null, json, pendingVersion);
            ObjectSerializationCache cache = new ObjectSerializationCache();
            RequestHeader header = new RequestHeader(api, pendingVersion, clientId, 1);
            short headerVersion = api.requestHeaderVersion(pendingVersion);
            int size = header.data().size(cache, headerVersion) + request.size(cache, pendingVersion);
            ByteBuffer frame = ByteBuffer.allocate(4 + size);
            frame.putInt(size);
            ByteBufferAccessor out = new ByteBufferAccessor(frame);
            header.data().write(out, cache, headerVersion);
            request.write(out, cache, pendingVersion);
            socket.getOutputStream().write(frame.array());
        }

        JsonNode end() throws Exception {
            byte[] frame = new byte[in.readInt()];
            in.readFully(frame);
            ByteBuffer buffer = ByteBuffer.wrap(frame);
            ByteBufferAccessor accessor = new ByteBufferAccessor(buffer);
            new ResponseHeaderData(accessor, pending.responseHeaderVersion(pendingVersion));
            ApiMessage response = pending.messageType.newResponse();
            response.read(accessor, pendingVersion);
            if (buffer.hasRemaining()) {
                throw new IllegalStateException(buffer.remaining() + " bytes after " + response);
            }
            return toJson(response, pendingVersion);
        }

        JsonNode call(ApiKeys api, int version, ObjectNode fields) throws Exception {
            begin(api, version, fields);
            return end();
        }

        @Override
        public void close() throws Exception {
            socket.close();
        }
    }

    static Class<?> converter(ApiMessage message) throws Exception {
        return Class.forName(message.getClass().getName() + "JsonConverter");
    }

    static JsonNode toJson(ApiMessage message, short version) throws Exception {
        return (JsonNode) converter(message).getMethod("write", message.getClass(), short.class)
            .invoke(null, message, version);
    }

    static JsonNode once(ApiKeys api, int version, ObjectNode fields) throws Exception {
        try (Client client = new Client("once")) {
            return client.call(api, version, fields);
        }
    }

    /** Prints an answer in a form that does not depend on chance. */
    static JsonNode show(String name, JsonNode answer) {
        JsonNode sorted = sorted(answer.deepCopy());
        Matcher matcher = UUID.matcher(sorted.toString());
        StringBuilder text = new StringBuilder();
        while (matcher.find()) {
            UUIDS.putIfAbsent(matcher.group(), "uuid" + UUIDS.size());
            matcher.appendReplacement(text, UUIDS.get(matcher.group()));
        }
        matcher.appendTail(text);
        System.out.println(name + " " + text.toString().replace("\"port\":" + port, "\"port\":P"));
        return answer;
    }

    static JsonNode sorted(JsonNode node) {
        for (JsonNode child : node) {
            sorted(child);
        }
        if (node instanceof ArrayNode array && array.size() > 1 && array.get(0).isObject()) {
            List<JsonNode> items = new ArrayList<>();
            array.forEach(items::add);
            items.sort(Comparator.comparing(item -> UUID.matcher(item.toString()).replaceAll("")));
            array.removeAll().addAll(items);
        }
        return node;
    }

    static void check(String name, ApiKeys api, int version, ObjectNode fields) throws Exception {
        show(name + " v" + version, once(api, version, fields));
    }

    static void checkAll(String name, ApiKeys api, int first, int last, ObjectNode fields) throws Exception {
        for (int version = first; version <= last; version++) {
            check(name, api, version, fields);
        }
    }

    // Requests.

    /** Names and values in turn. */
    static ObjectNode fields(Object... pairs) {
        ObjectNode node = JSON.createObjectNode();
        for (int i = 0; i < pairs.length; i += 2) {
            node.set((String) pairs[i], JSON.valueToTree(pairs[i + 1]));
        }
        return node;
    }

    static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    /** Version 0 of a consumer's subscription to one topic. */
    static String subscription(String topic) {
        ByteBuffer bytes = ByteBuffer.allocate(12 + topic.length());
        bytes.putShort((short) 0).putInt(1).putShort((short) topic.length());
        bytes.put(topic.getBytes(StandardCharsets.UTF_8)).putInt(-1);
        return base64(bytes.array());
    }

    static ObjectNode join(String group, String member, String instance, int session, int rebalance, String type,
                           String... protocols) {
        List<ObjectNode> list = new ArrayList<>();
        for (String protocol : protocols) {
            list.add(fields("name", protocol, "metadata", subscription("t")));
        }
        ObjectNode node = fields("groupId", group, "memberId", member, "sessionTimeoutMs", session,
            "rebalanceTimeoutMs", rebalance, "protocolType", type, "protocols", list);
        if (instance != null) {
            node.put("groupInstanceId", instance);
        }
        return node;
    }

    static ObjectNode join(String group, String member, String instance, String... protocols) {
        return join(group, member, instance, 10_000, 10_000, "consumer", protocols);
    }

    static ObjectNode sync(String group, int generation, String member, String instance, String... assignments) {
        List<ObjectNode> list = new ArrayList<>();
        for (int i = 0; i < assignments.length; i += 2) {
            String part = base64(assignments[i + 1].getBytes(StandardCharsets.UTF_8));
            list.add(fields("memberId", assignments[i], "assignment", part));
        }
        return fields("groupId", group, "generationId", generation, "memberId", member, "groupInstanceId", instance,
            "protocolType", "consumer", "protocolName", "range", "assignments", list);
    }

    static ObjectNode beat(String group, int generation, String member, String instance) {
        return fields("groupId", group, "generationId", generation, "memberId", member, "groupInstanceId", instance);
    }

    /** Topic, partition, offset and metadata in turn. */
    static ObjectNode commit(String group, int generation, String member, String instance, Object... offsets) {
        List<ObjectNode> topics = new ArrayList<>();
        for (int i = 0; i < offsets.length; i += 4) {
            ObjectNode partition = fields("partitionIndex", offsets[i + 1], "committedOffset", offsets[i + 2],
                "committedLeaderEpoch", -1, "commitTimestamp", -1, "committedMetadata", offsets[i + 3]);
            topics.add(fields("name", offsets[i], "partitions", List.of(partition)));
        }
        ObjectNode node = fields("groupId", group, "memberId", member, "generationIdOrMemberEpoch", generation,
            "topics", topics);
        if (instance != null) {
            node.put("groupInstanceId", instance);
        }
        return node;
    }

    static ObjectNode fetch(String group, Integer... partitions) {
        Object topics = partitions.length == 0 ? null
            : List.of(fields("name", "t", "partitionIndexes", Arrays.asList(partitions)));
        return fields("groupId", group, "topics", topics);
    }

    static ObjectNode fetchGroups(String... groups) {
        List<ObjectNode> list = new ArrayList<>();
        for (String group : groups) {
            list.add(fields("groupId", group, "memberId", null, "memberEpoch", -1, "topics", null));
        }
        return fields("groups", list);
    }

    static ObjectNode forget(String group, Object... partitions) {
        List<ObjectNode> topics = new ArrayList<>();
        for (int i = 0; i < partitions.length; i += 2) {
            topics.add(fields("name", partitions[i],
                "partitions", List.of(fields("partitionIndex", partitions[i + 1]))));
        }
        return fields("groupId", group, "topics", topics);
    }

    static ObjectNode leave(String group, String... members) {
        List<ObjectNode> list = new ArrayList<>();
        for (int i = 0; i < members.length; i += 2) {
            list.add(fields("memberId", members[i], "groupInstanceId", members[i + 1], "reason", null));
        }
        return fields("groupId", group, "members", list);
    }

    static ObjectNode groups(String... groups) {
        return fields("groups", List.of(groups));
    }

    static ObjectNode states(String... states) {
        return fields("statesFilter", List.of(states));
    }

    // The script.

    static void prepare() throws Exception {
        List<ObjectNode> topics = new ArrayList<>();
        for (String topic : List.of("t", "u")) {
            topics.add(fields("name", topic, "numPartitions", 6, "replicationFactor", 1, "assignments", List.of(),
                "configs", List.of()));
        }
        for (int i = 0; ; i++) {
            JsonNode answer = once(ApiKeys.CREATE_TOPICS, 5, fields("topics", topics, "timeoutMs", 10_000));
            List<Integer> errors = new ArrayList<>();
            answer.get("topics").forEach(topic -> errors.add(topic.get("errorCode").asInt()));
            if (errors.stream().allMatch(error -> error == 0 || error == 36)) {
                break;
            }
            if (i > 100) {
                throw new IllegalStateException("topics are not created: " + answer);
            }
            Thread.sleep(100);
        }
        for (int i = 0; ; i++) {
            JsonNode found = once(ApiKeys.FIND_COORDINATOR, 0, fields("key", "g"));
            JsonNode known = once(ApiKeys.METADATA, 1, fields("topics", List.of(fields("name", "t"))));
            boolean hasTopic = known.get("topics").get(0).get("errorCode").asInt() == 0;
            if (hasTopic && found.get("errorCode").asInt() == 0 && isLoaded()) {
                return;
            }
            if (i > 300) {
                throw new IllegalStateException("no coordinator: " + found);
            }
            Thread.sleep(100);
        }
    }

    static boolean isLoaded() throws Exception {
        JsonNode listed = once(ApiKeys.LIST_GROUPS, 0, fields());
        JsonNode described = once(ApiKeys.DESCRIBE_GROUPS, 0, groups("g", "simple", "st", "ex"));
        boolean loaded = listed.get("errorCode").asInt() == 0;
        for (JsonNode group : described.get("groups")) {
            loaded &= group.get("errorCode").asInt() == 0;
        }
        return loaded;
    }

    static void refusals() throws Exception {
        checkAll("find", ApiKeys.FIND_COORDINATOR, 0, 3, fields("key", "g"));
        check("find", ApiKeys.FIND_COORDINATOR, 4, fields("coordinatorKeys", List.of("g", "h", "")));
        checkAll("join without a group id", ApiKeys.JOIN_GROUP, 0, 9, join("", "", null, "range"));
        check("session too short", ApiKeys.JOIN_GROUP, 5, join("g", "", null, 10, 10_000, "consumer", "range"));
        check("session too long", ApiKeys.JOIN_GROUP, 5, join("g", "", null, 1_800_001, 1, "consumer", "range"));
        check("join as a stranger", ApiKeys.JOIN_GROUP, 5, join("none", "who", null, "range"));
        check("join without protocols", ApiKeys.JOIN_GROUP, 5, join("np", "", null));
        check("join without a type", ApiKeys.JOIN_GROUP, 5, join("np", "", null, 10_000, 10_000, "", "range"));
        check("sync with no group", ApiKeys.SYNC_GROUP, 5, sync("none", 1, "m", null));
        ObjectNode anonymous = sync("none", 1, "m", null);
        anonymous.putNull("protocolType").putNull("protocolName");
        check("sync without a protocol", ApiKeys.SYNC_GROUP, 5, anonymous);
        check("beat with no group", ApiKeys.HEARTBEAT, 4, beat("none", 1, "m", null));
        check("beat without a group id", ApiKeys.HEARTBEAT, 3, beat("", 1, "m", null));
        check("leave no group", ApiKeys.LEAVE_GROUP, 4, leave("none", "m", null, "", "i"));
        check("leave no group", ApiKeys.LEAVE_GROUP, 2, fields("groupId", "none", "memberId", "m"));
        check("leave without a group id", ApiKeys.LEAVE_GROUP, 5, leave("", "m", null));
        checkAll("commit with no group", ApiKeys.OFFSET_COMMIT, 1, 9, commit("none", 3, "m", null, "t", 0, 1, "x"));
    }

    static void simpleOffsets() throws Exception {
        check("unknown partitions", ApiKeys.OFFSET_COMMIT, 8,
            commit("none", -1, "", null, "nosuch", 0, 1, "x", "t", 99, 1, "y"));
        check("long metadata", ApiKeys.OFFSET_COMMIT, 8,
            commit("simple", -1, "", null, "t", 0, 1, "x".repeat(4097)));
        check("commit", ApiKeys.OFFSET_COMMIT, 2, commit("simple", -1, "", null, "t", 0, 42, null));
        check("commit", ApiKeys.OFFSET_COMMIT, 8, commit("simple", -1, "", null, "t", 1, 43, "note"));
        check("commit without a group id", ApiKeys.OFFSET_COMMIT, 8, commit("", -1, "", null, "t", 0, 5, "m"));
        check("describe", ApiKeys.DESCRIBE_GROUPS, 5, groups("simple", "none", ""));
        checkAll("fetch", ApiKeys.OFFSET_FETCH, 1, 7, fetch("simple", 0, 1, 5));
        checkAll("fetch all", ApiKeys.OFFSET_FETCH, 2, 7, fetch("simple"));
        checkAll("fetch groups", ApiKeys.OFFSET_FETCH, 8, 9, fetchGroups("simple", "none", ""));
        check("forget offsets of no group", ApiKeys.OFFSET_DELETE, 0, forget("none"));
        check("forget offsets", ApiKeys.OFFSET_DELETE, 0, forget("simple", "t", 0, "nosuch", 0));
        check("fetch the rest", ApiKeys.OFFSET_FETCH, 5, fetch("simple"));
        check("delete groups", ApiKeys.DELETE_GROUPS, 2, fields("groupsNames", List.of("none", "simple")));
        check("describe deleted", ApiKeys.DESCRIBE_GROUPS, 0, groups("simple"));
        check("commit to zookeeper", ApiKeys.OFFSET_COMMIT, 0,
            commit("old", -1, "", null, "t", 0, 123, "", "t", 99, 1, "x", "t", 1, 1, "x".repeat(4097)));
        check("commit to zookeeper again", ApiKeys.OFFSET_COMMIT, 0, commit("old", -1, "", null, "t", 0, 124, ""));
        check("fetch from zookeeper", ApiKeys.OFFSET_FETCH, 0, fetch("old", 0, 1, 99));
    }

    static void dynamicMembers(Client a, Client b) throws Exception {
        a.begin(ApiKeys.JOIN_GROUP, 3, join("g", "", null, "range", "sticky"));
        Thread.sleep(200);
        check("preparing", ApiKeys.DESCRIBE_GROUPS, 5, groups("g"));
        check("list preparing", ApiKeys.LIST_GROUPS, 4, states("PreparingRebalance"));
        String first = show("a joins", a.end()).get("memberId").asText();
        check("completing", ApiKeys.DESCRIBE_GROUPS, 5, groups("g"));
        check("beat completing", ApiKeys.HEARTBEAT, 4, beat("g", 1, first, null));
        check("commit completing", ApiKeys.OFFSET_COMMIT, 8, commit("g", 1, first, null, "t", 0, 1, "x"));
        check("beat of another generation", ApiKeys.HEARTBEAT, 4, beat("g", 7, first, null));
        check("beat of an unknown instance", ApiKeys.HEARTBEAT, 4, beat("g", 1, first, "inst"));
        check("sync of another generation", ApiKeys.SYNC_GROUP, 5, sync("g", 7, first, null));
        check("sync of another type", ApiKeys.SYNC_GROUP, 5, sync("g", 1, first, null).put("protocolType", "connect"));
        check("sync of another protocol", ApiKeys.SYNC_GROUP, 5, sync("g", 1, first, null).put("protocolName", "x"));
        check("sync of a stranger", ApiKeys.SYNC_GROUP, 5, sync("g", 1, "who", null));
        show("a syncs", a.call(ApiKeys.SYNC_GROUP, 5, sync("g", 1, first, null, first, "all", "ghost", "x")));
        checkAll("stable", ApiKeys.DESCRIBE_GROUPS, 0, 5, groups("g"));
        check("beat", ApiKeys.HEARTBEAT, 4, beat("g", 1, first, null));
        check("commit stable", ApiKeys.OFFSET_COMMIT, 8, commit("g", 1, first, null, "t", 0, 10, "meta"));
        check("commit as nobody", ApiKeys.OFFSET_COMMIT, 8, commit("g", -1, "", null, "t", 0, 11, "x"));
        check("commit of another generation", ApiKeys.OFFSET_COMMIT, 8, commit("g", 0, first, null, "t", 0, 11, "x"));
        check("delete a full group", ApiKeys.DELETE_GROUPS, 1, fields("groupsNames", List.of("g")));
        check("forget what is read", ApiKeys.OFFSET_DELETE, 0, forget("g", "t", 0, "u", 0));
        check("join with another protocol", ApiKeys.JOIN_GROUP, 5, join("g", "", null, "other"));
        check("join with another type", ApiKeys.JOIN_GROUP, 5, join("g", "", null, 10_000, 1, "connect", "range"));

        String second = show("b is given an id", b.call(ApiKeys.JOIN_GROUP, 5, join("g", "", null, "range")))
            .get("memberId").asText();
        b.begin(ApiKeys.JOIN_GROUP, 5, join("g", second, null, "range"));
        Thread.sleep(200);
        check("beat preparing", ApiKeys.HEARTBEAT, 4, beat("g", 1, first, null));
        check("commit preparing", ApiKeys.OFFSET_COMMIT, 8, commit("g", 1, first, null, "t", 0, 12, "more"));
        check("sync preparing", ApiKeys.SYNC_GROUP, 5, sync("g", 1, first, null));
        ObjectNode again = join("g", first, null, "sticky", "range");
        show("a joins again", a.call(ApiKeys.JOIN_GROUP, 9, again));
        show("b joins", b.end());
        show("a joins once more", a.call(ApiKeys.JOIN_GROUP, 9, again));
        b.begin(ApiKeys.SYNC_GROUP, 5, sync("g", 2, second, null));
        Thread.sleep(100);
        show("a syncs", a.call(ApiKeys.SYNC_GROUP, 5, sync("g", 2, first, null, first, "pa", second, "pb")));
        show("b syncs", b.end());
        show("b joins unchanged", b.call(ApiKeys.JOIN_GROUP, 9, join("g", second, null, "range")));
        check("two members", ApiKeys.DESCRIBE_GROUPS, 5, groups("g"));
        a.begin(ApiKeys.JOIN_GROUP, 9, join("g", first, null, "range"));
        Thread.sleep(200);
        check("b leaves", ApiKeys.LEAVE_GROUP, 5, leave("g", second, null));
        show("a is alone", a.end());
        show("a syncs alone", a.call(ApiKeys.SYNC_GROUP, 4, sync("g", 3, first, null, first, "all")));
        check("strangers leave", ApiKeys.LEAVE_GROUP, 4, leave("g", "who", null, first, "inst", "", "inst"));
        check("a leaves", ApiKeys.LEAVE_GROUP, 0, fields("groupId", "g", "memberId", first));
        Thread.sleep(200);
        check("empty", ApiKeys.DESCRIBE_GROUPS, 5, groups("g"));
        check("list empty", ApiKeys.LIST_GROUPS, 4, states("Empty"));
        check("offsets stay", ApiKeys.OFFSET_FETCH, 8, fetchGroups("g"));
        check("commit to an empty group", ApiKeys.OFFSET_COMMIT, 9, commit("g", -1, "", null, "t", 1, 77, "adm"));
        check("commit as who left", ApiKeys.OFFSET_COMMIT, 9, commit("g", 3, first, null, "t", 1, 78, "adm"));
    }

    static void pendingMembers() throws Exception {
        String given = show("given an id", once(ApiKeys.JOIN_GROUP, 9, join("p", "", null, "range")))
            .get("memberId").asText();
        check("nobody yet", ApiKeys.DESCRIBE_GROUPS, 5, groups("p"));
        check("leaves before joining", ApiKeys.LEAVE_GROUP, 5, leave("p", given, null));
        check("beat of who left", ApiKeys.HEARTBEAT, 4, beat("p", 0, given, null));
        check("operations", ApiKeys.DESCRIBE_GROUPS, 5, groups("p").put("includeAuthorizedOperations", true));
    }

    static void staticMembers(Client a, Client b, Client c) throws Exception {
        a.begin(ApiKeys.JOIN_GROUP, 9, join("st", "", "i1", "range"));
        Thread.sleep(100);
        b.begin(ApiKeys.JOIN_GROUP, 9, join("st", "", "i2", "range"));
        String leader = show("i1 joins", a.end()).get("memberId").asText();
        String follower = show("i2 joins", b.end()).get("memberId").asText();
        b.begin(ApiKeys.SYNC_GROUP, 5, sync("st", 1, follower, "i2"));
        show("i1 syncs", a.call(ApiKeys.SYNC_GROUP, 5, sync("st", 1, leader, "i1", leader, "L", follower, "F")));
        show("i2 syncs", b.end());
        String back = show("i1 returns", c.call(ApiKeys.JOIN_GROUP, 9, join("st", "", "i1", "range")))
            .get("memberId").asText();
        check("the old i1 is fenced", ApiKeys.HEARTBEAT, 4, beat("st", 1, leader, "i1"));
        show("i1 syncs again", c.call(ApiKeys.SYNC_GROUP, 5, sync("st", 1, back, "i1")));
        String newest = show("i1 returns unable to skip", c.call(ApiKeys.JOIN_GROUP, 8, join("st", "", "i1", "range")))
            .get("memberId").asText();
        show("i2 returns", c.call(ApiKeys.JOIN_GROUP, 9, join("st", "", "i2", "range")));
        check("the old i1 joins", ApiKeys.JOIN_GROUP, 9, join("st", leader, "i1", "range"));
        check("the old i1 commits", ApiKeys.OFFSET_COMMIT, 8, commit("st", 1, leader, "i1", "t", 0, 1, "x"));
        check("the new i1 commits", ApiKeys.OFFSET_COMMIT, 8, commit("st", 1, newest, "i1", "t", 0, 1, "x"));
        check("an unknown instance", ApiKeys.HEARTBEAT, 4, beat("st", 1, newest, "i9"));
        check("wrong ones leave", ApiKeys.LEAVE_GROUP, 5, leave("st", leader, "i1", "", "nope"));
        check("instances are removed", ApiKeys.LEAVE_GROUP, 5, leave("st", "", "i1", "", "i2"));
        Thread.sleep(200);
        check("no instances", ApiKeys.DESCRIBE_GROUPS, 5, groups("st"));
    }

    static void timeouts(Client a) throws Exception {
        ObjectNode silent = join("ex", "", null, 1000, 3000, "consumer", "range");
        String member = show("joins and is silent", a.call(ApiKeys.JOIN_GROUP, 3, silent)).get("memberId").asText();
        a.call(ApiKeys.SYNC_GROUP, 5, sync("ex", 1, member, null, member, "x"));
        ObjectNode unsynced = join("ns", "", null, 30_000, 1500, "consumer", "range");
        String other = show("joins, never syncs", a.call(ApiKeys.JOIN_GROUP, 3, unsynced)).get("memberId").asText();
        Thread.sleep(3500);
        check("the silent one is out", ApiKeys.HEARTBEAT, 4, beat("ex", 1, member, null));
        check("the one without sync is out", ApiKeys.HEARTBEAT, 4, beat("ns", 1, other, null));
        check("both groups are empty", ApiKeys.DESCRIBE_GROUPS, 5, groups("ex", "ns"));
    }

    static void groupSize() throws Exception {
        List<Client> clients = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Client client = new Client("many");
            client.begin(ApiKeys.JOIN_GROUP, 5, join("mx", "", "x" + i, 10_000, 10_000, "connect", "p"));
            clients.add(client);
            Thread.sleep(50);
        }
        for (Client client : clients) {
            JsonNode answer = client.end();
            String brief = answer.get("errorCode") + " " + answer.get("generationId") + " " + answer.get("members").size();
            System.out.println("one of four joins " + brief);
        }
        check("offsets of an unknown protocol type", ApiKeys.OFFSET_DELETE, 0, forget("mx", "t", 0));
        checkAll("list", ApiKeys.LIST_GROUPS, 0, 4, fields());
        check("delete", ApiKeys.DELETE_GROUPS, 2, fields("groupsNames", List.of("g", "ex", "st")));
        check("nothing is left", ApiKeys.OFFSET_FETCH, 9, fetchGroups("g"));
        for (Client client : clients) {
            client.close();
        }
    }

    static void producerIds() throws Exception {
        for (int version = 0; version <= 4; version++) {
            JsonNode answer;
            do {
                answer = once(ApiKeys.INIT_PRODUCER_ID, version, fields("transactionalId", null));
            } while (answer.get("errorCode").asInt() == 14);
            show("producer id v" + version, answer);
        }
        check("half an id", ApiKeys.INIT_PRODUCER_ID, 4, fields("transactionalId", null, "producerId", 5));
        check("empty transactional id", ApiKeys.INIT_PRODUCER_ID, 4, fields("transactionalId", ""));
    }

    public static void main(String[] arguments) throws Exception {
        int colon = arguments[0].lastIndexOf(':');
        host = arguments[0].substring(0, colon);
        port = Integer.parseInt(arguments[0].substring(colon + 1));
        prepare();
        refusals();
        simpleOffsets();
        try (Client a = new Client("a"); Client b = new Client("b"); Client c = new Client("c")) {
            dynamicMembers(a, b);
            pendingMembers();
            staticMembers(a, b, c);
            timeouts(a);
        }
        groupSize();
        producerIds();
        System.out.println("end of the script");
    }
}
