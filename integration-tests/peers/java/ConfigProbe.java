import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.util.Properties;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;

/**
 * Says what ZooKeeper makes of configuration files: one path a line on standard input, one answer a line on standard
 * output, "OK" and tab-separated settings, or "REFUSED" and why.
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
            return "REFUSED\t" + refused + "\t" + refused.getCause();
        }
        InetSocketAddress client = config.getClientPortAddress();
        String address = client == null ? "none"
            : client.getAddress() == null ? "unresolved"
            : client.getAddress().isAnyLocalAddress() ? "any" : client.getAddress().getHostAddress();
        return "OK\tdistributed=" + config.isDistributed()
            + "\tclientPort=" + (client == null ? 0 : client.getPort())
            + "\tclientPortAddress=" + address
            + "\tdataDir=" + config.getDataDir()
            + "\tdataLogDir=" + config.getDataLogDir()
            + "\ttickTime=" + config.getTickTime()
            + "\tmaxClientCnxns=" + config.getMaxClientCnxns()
            + "\tminSessionTimeout=" + config.getMinSessionTimeout()
            + "\tmaxSessionTimeout=" + config.getMaxSessionTimeout()
            + "\tclientPortListenBacklog=" + config.getClientPortListenBacklog()
            + "\tautopurge.snapRetainCount=" + config.getSnapRetainCount()
            + "\tautopurge.purgeInterval=" + config.getPurgeInterval();
    }
}
