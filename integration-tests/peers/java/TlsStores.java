import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import javax.security.auth.x500.X500Principal;

/**
 * Makes key stores of all kinds with the JDK's own keytool, run many times in one virtual machine.
 * java --add-exports java.base/sun.security.tools.keytool=ALL-UNNAMED TlsStores.java DIRECTORY
 */
public class TlsStores {
    static final String PASSWORD = "changeit";
    static Path directory;
    static ByteArrayOutputStream said;
    static boolean done;

    public static void main(String[] args) throws Exception {
        directory = Path.of(args[0]);
        PrintStream out = System.out;
        // keytool ends the process when it fails.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (!done) {
                out.println("keytool failed: " + said);
            }
        }));
        Files.createDirectories(directory);
        authority("ca", "CN=Test CA,O=Tandem,C=DE");
        authority("otherca", "CN=Test CA,O=Somebody Else,C=DE");
        String local = "san=dns:localhost,ip:127.0.0.1";
        issue("server", "ca", "CN=localhost,OU=Servers,O=Tandem,C=DE", "RSA", "2048", "3650", "-ext", local);
        issue("ecserver", "ca", "CN=localhost,O=EC", "EC", "secp256r1", "3650", "-ext", local);
        issue("client", "ca", "CN=client one,OU=A\\, B \\+ C,O=Tandem,C=DE", "RSA", "2048", "3650");
        issue("ecclient", "ca", "UID=u1,CN=elliptic,EMAILADDRESS=a@b.c,DC=example,DC=org", "EC", "secp384r1", "3650");
        issue("edclient", "ca", "CN=edwards", "Ed25519", null, "3650");
        issue("super", "ca", "CN=super", "EC", "secp256r1", "3650");
        issue("serveronly", "ca", "CN=server only", "EC", "secp256r1", "3650", "-ext", "eku=serverAuth");
        issue("noSignature", "ca", "CN=no signature", "EC", "secp256r1", "3650", "-ext", "ku:c=keyAgreement");
        issue("expired", "ca", "CN=expired", "EC", "secp256r1", "1", "-startdate", "-10d");
        issue("unissued", "otherca", "CN=client one,OU=A\\, B \\+ C,O=Tandem,C=DE", "RSA", "2048", "3650");
        issue("middle", "ca", "CN=Middle CA", "EC", "secp256r1", "3650", "-ext", "bc:c=ca:true", "-ext", "ku:c=keyCertSign");
        issue("below", "middle", "CN=below", "EC", "secp256r1", "3650");
        keyPair("selfsigned", "CN=self-signed", "EC", "secp256r1", "3650");
        keyPair("selfexpired", "CN=self-signed and expired", "EC", "secp256r1", "1", "-startdate", "-10d");
        keyPair("selfca", "CN=self-signed authority", "EC", "secp256r1", "3650", "-ext", "bc:c=ca:true");
        trust("trust.p12", "PKCS12", "ca", "selfsigned", "selfexpired", "selfca");
        trust("trust.jks", "JKS", "ca", "selfsigned", "selfexpired", "selfca");
        trust("clienttrust.p12", "PKCS12", "ca");
        trust("othertrust.p12", "PKCS12", "otherca");
        withoutExtensions("old", "ca", "CN=old");
        withoutExtensions("oldstranger", "otherca", "CN=old");
        Files.writeString(directory.resolve("password"), PASSWORD + "\n");
        Files.writeString(directory.resolve("trust.pem"),
            pem("ca") + pem("selfsigned") + pem("selfexpired") + pem("selfca"));
        for (String name : new String[] {"server", "ecserver", "client", "ecclient"}) {
            convert(name, name + ".jks", "JKS");
            writePem(name);
        }
        System.setProperty("keystore.pkcs12.legacy", "");
        convert("server", "legacy.p12", "PKCS12");
        System.clearProperty("keystore.pkcs12.legacy");
        done = true;
        System.out.println("made");
    }

    static String[] with(String[] first, String... more) {
        List<String> all = new ArrayList<>(Arrays.asList(first));
        all.addAll(Arrays.asList(more));
        return all.toArray(new String[0]);
    }

    static byte[] keytool(String... args) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream before = System.out;
        PrintStream errors = System.err;
        System.setOut(new PrintStream(out, true));
        System.setErr(new PrintStream(said = new ByteArrayOutputStream(), true));
        try {
            sun.security.tools.keytool.Main.main(with(args, "-storepass", PASSWORD));
        } finally {
            System.setOut(before);
            System.setErr(errors);
        }
        return out.toByteArray();
    }

    static String file(String name) {
        return directory.resolve(name).toString();
    }

    static void keyPair(String name, String dn, String algorithm, String size, String days, String... more)
            throws Exception {
        String[] args = {"-genkeypair", "-alias", name, "-keyalg", algorithm, "-dname", dn, "-validity", days,
            "-keystore", file(name + ".p12"), "-storetype", "PKCS12"};
        if (size != null) {
            args = with(args, algorithm.equals("EC") ? "-groupname" : "-keysize", size);
        }
        keytool(with(args, more));
        Files.write(directory.resolve(name + ".crt"), keytool("-exportcert", "-rfc", "-alias", name,
            "-keystore", file(name + ".p12")));
    }

    static void authority(String name, String dn) throws Exception {
        keyPair(name, dn, "RSA", "2048", "3650", "-ext", "bc:c=ca:true", "-ext", "ku:c=keyCertSign");
    }

    static void issue(String name, String issuer, String dn, String algorithm, String size, String days,
            String... more) throws Exception {
        keyPair(name, dn, algorithm, size, "3650");
        keytool("-certreq", "-alias", name, "-keystore", file(name + ".p12"), "-file", file(name + ".csr"));
        String[] args = {"-gencert", "-rfc", "-alias", issuer, "-keystore", file(issuer + ".p12"), "-validity", days,
            "-infile", file(name + ".csr"), "-outfile", file(name + ".crt")};
        keytool(with(args, more));
        // The whole chain, so that the issuer is found.
        KeyStore store = load(issuer);
        StringBuilder chain = new StringBuilder(Files.readString(directory.resolve(name + ".crt")));
        for (Certificate certificate : store.getCertificateChain(issuer)) {
            chain.append(pemOf("CERTIFICATE", certificate.getEncoded()));
        }
        Files.writeString(directory.resolve(name + ".chain"), chain);
        keytool("-importcert", "-noprompt", "-trustcacerts", "-alias", name, "-file", file(name + ".chain"),
            "-keystore", file(name + ".p12"));
    }

    /** A certificate of version 1, as openssl x509 -req makes it. */
    static void withoutExtensions(String name, String issuer, String dn) throws Exception {
        keyPair(name, dn, "RSA", "2048", "3650");
        KeyStore own = load(name);
        KeyStore issuers = load(issuer);
        X509Certificate authority = (X509Certificate) issuers.getCertificate(issuer);
        byte[] algorithm = der(0x30, new byte[] {6, 9, 0x2a, (byte) 0x86, 0x48, (byte) 0x86, (byte) 0xf7, 0x0d, 1, 1,
            11, 5, 0});
        byte[] validity = der(0x30, der(0x17, "200101000000Z".getBytes()), der(0x17, "490101000000Z".getBytes()));
        byte[] body = der(0x30, new byte[] {2, 1, 7}, algorithm, authority.getSubjectX500Principal().getEncoded(),
            validity, new X500Principal(dn).getEncoded(), own.getCertificate(name).getPublicKey().getEncoded());
        Signature signature = Signature.getInstance("SHA256withRSA");
        signature.initSign((PrivateKey) issuers.getKey(issuer, PASSWORD.toCharArray()));
        signature.update(body);
        byte[] certificate = der(0x30, body, algorithm, der(3, new byte[] {0}, signature.sign()));
        Certificate made = CertificateFactory.getInstance("X.509")
            .generateCertificate(new ByteArrayInputStream(certificate));
        own.setKeyEntry(name, own.getKey(name, PASSWORD.toCharArray()), PASSWORD.toCharArray(),
            new Certificate[] {made, authority});
        try (var out = Files.newOutputStream(directory.resolve(name + ".p12"))) {
            own.store(out, PASSWORD.toCharArray());
        }
    }

    static KeyStore load(String name) throws Exception {
        return KeyStore.getInstance(directory.resolve(name + ".p12").toFile(), PASSWORD.toCharArray());
    }

    static byte[] der(int tag, byte[]... parts) {
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            body.writeBytes(part);
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(tag);
        if (body.size() < 128) {
            out.write(body.size());
        } else {
            out.writeBytes(new byte[] {(byte) 0x82, (byte) (body.size() >> 8), (byte) body.size()});
        }
        out.writeBytes(body.toByteArray());
        return out.toByteArray();
    }

    static void trust(String fileName, String type, String... names) throws Exception {
        for (String name : names) {
            keytool("-importcert", "-noprompt", "-alias", name, "-file", file(name + ".crt"),
                "-keystore", file(fileName), "-storetype", type);
        }
    }

    static void convert(String name, String fileName, String type) throws Exception {
        keytool("-importkeystore", "-srckeystore", file(name + ".p12"), "-srcstorepass", PASSWORD,
            "-destkeystore", file(fileName), "-deststoretype", type, "-deststorepass", PASSWORD);
    }

    static void writePem(String name) throws Exception {
        KeyStore store = load(name);
        PrivateKey key = (PrivateKey) store.getKey(name, PASSWORD.toCharArray());
        StringBuilder text = new StringBuilder(pemOf("PRIVATE KEY", key.getEncoded()));
        for (Certificate certificate : store.getCertificateChain(name)) {
            text.append(pemOf("CERTIFICATE", certificate.getEncoded()));
        }
        Files.writeString(directory.resolve(name + ".pem"), text);
    }

    static String pem(String name) throws Exception {
        return Files.readString(directory.resolve(name + ".crt"));
    }

    static String pemOf(String label, byte[] der) {
        String text = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(der);
        return "-----BEGIN " + label + "-----\n" + text + "\n-----END " + label + "-----\n";
    }
}
