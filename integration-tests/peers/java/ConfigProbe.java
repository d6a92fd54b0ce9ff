import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.util.Properties;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;

/**
 * Says what ZooKeeper makes of configuration files: one path a line on standard input, one answer a line on standard
 * output, "OK" and settings with U+0001 before each, or "REFUSED" and why.
 */
public class ConfigProbe {
    public static void main(String[] arguments) throws Exception {
        Properties before = (Properties) System.getProperties().clone();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String path = lines.readLine(); path != null; path = lines.readLine()) {
            System.setProperties((Properties) before.clone());
            QuorumPeerConfig.setStandaloneEnabled(true);
            QuorumPeerConfig.setReconfigEnabled(false);
            System.out.println(answer(path).replace('\n', ' '));
        }
    }

    static String answer(String path) {
        QuorumPeerConfig config = new QuorumPeerConfig();
        try {
            config.parse(path);
        } catch (Throwable refused) {
            return "REFUSED\1" + refused + "\1" + refused.getCause();
        }
        InetSocketAddress client = config.getClientPortAddress();
        String address = client == null ? "none"
            : client.getAddress() == null ? "unresolved"
            : client.getAddress().isAnyLocalAddress() ? "any" : client.getAddress().getHostAddress();
        return "OK\1distributed=" + config.isDistributed()
            + "\1clientPort=" + (client == null ? 0 : client.getPort())
            + "\1clientPortAddress=" + address
            + "\1dataDir=" + config.getDataDir()
            + "\1dataLogDir=" + config.getDataLogDir()
            + "\1tickTime=" + config.getTickTime()
            + "\1maxClientCnxns=" + config.getMaxClientCnxns()
            + "\1minSessionTimeout=" + config.getMinSessionTimeout()
            + "\1maxSessionTimeout=" + config.getMaxSessionTimeout()
            + "\1clientPortListenBacklog=" + config.getClientPortListenBacklog()
            + "\1autopurge.snapRetainCount=" + config.getSnapRetainCount()
            + "\1autopurge.purgeInterval=" + config.getPurgeInterval();
    }
}
