//! Shell: whom our server takes and turns away through TLS, compared with Apache's; stores by the JDK's keytool.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::at_once;
use integration_tests::ports::Port;
use integration_tests::stack::{Maker, ZooKeeper, ask};
use integration_tests::workspace::{self, Scratch};
use integration_tests::{apache, process};

/// How long a Java program may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// What makes a Java client speak TLS.
const SECURE: &str = "zookeeper.client.secure=true\tzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty\tzookeeper.ssl.protocol=TLSv1.3";

/// Key stores with which clients try, each its own case.
const CLIENTS: [&str; 17] = [
    "client.p12",
    "client.jks",
    "client.pem",
    "ecclient.p12",
    "ecclient.pem",
    "edclient.p12",
    "super.p12",
    "serveronly.p12",
    "noSignature.p12",
    "expired.p12",
    "unissued.p12",
    "below.p12",
    "selfsigned.p12",
    "selfexpired.p12",
    "selfca.p12",
    "old.p12",
    "oldstranger.p12",
];

/// Makes all the key stores in one Java process.
fn make_stores() -> Result<Scratch> {
    let scratch = Scratch::new("tls-stores")?;
    let mut command = apache::java()?;
    command
        .args([
            "--add-exports",
            "java.base/sun.security.tools.keytool=ALL-UNNAMED",
        ])
        .arg(workspace::own_file("peers/java/TlsStores.java"))
        .arg(scratch.path());
    let made = process::run_command(&mut command, "", LIMIT)?;
    ensure!(
        made.stdout.ends_with("made\n"),
        "{}\n{}",
        made.stdout,
        made.stderr
    );
    Ok(scratch)
}

/// Every way to connect.
fn cases(plain: SocketAddr, secure: SocketAddr, stores: &Path) -> String {
    let stores = stores.display();
    let trust = format!(
        "zookeeper.ssl.trustStore.location={stores}/clienttrust.p12\tzookeeper.ssl.trustStore.password=changeit"
    );
    let key = |name: &str| {
        let password = if name.ends_with("pem") {
            ""
        } else {
            "changeit"
        };
        format!(
            "zookeeper.ssl.keyStore.location={stores}/{name}\tzookeeper.ssl.keyStore.password={password}"
        )
    };
    // Certificates name this, so that clients find the server's good.
    let name = |address: SocketAddr| format!("localhost:{}", address.port());
    let (plain, secure) = (name(plain), name(secure));
    let mut cases = String::new();
    for client in CLIENTS {
        let title = client.replace('.', "-");
        let _ = writeln!(
            cases,
            "{title}\t{secure}\t{SECURE}\t{trust}\t{}",
            key(client)
        );
    }
    let client = key("client.p12");
    let distrust = trust.replace("clienttrust", "othertrust");
    let _ = writeln!(cases, "no-key\t{secure}\t{SECURE}\t{trust}");
    let _ = writeln!(
        cases,
        "distrustful\t{secure}\t{SECURE}\t{distrust}\t{client}"
    );
    let _ = writeln!(cases, "plain-on-secure\t{secure}");
    let _ = writeln!(cases, "plain\t{plain}");
    let _ = writeln!(cases, "tls-on-plain\t{plain}\t{SECURE}\t{trust}\t{client}");
    let _ = writeln!(
        cases,
        "word\t{secure}\tword=ruok\tstore={stores}/client.p12\ttrust={stores}/clienttrust.p12"
    );
    cases
}

/// What a connection that sends these bytes is answered until the server closes.
fn raw(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(e) if e.kind() != std::io::ErrorKind::ConnectionReset => Err(e.into()),
        _ => Ok(answer),
    }
}

/// What happens on a server with these settings.
fn outcomes(maker: Maker, stores: &Path, settings: &str) -> Result<Vec<String>> {
    let port = Port::take()?;
    let mut lines = String::from(
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
         X509AuthenticationProvider.superUser=CN=super\n",
    );
    let unified = settings.contains("portUnification");
    if !unified {
        let _ = writeln!(
            lines,
            "secureClientPort={}\nsecureClientPortAddress=127.0.0.1",
            port.number()
        );
    }
    lines.push_str(&settings.replace("STORES", &stores.display().to_string()));
    let server = ZooKeeper::start_with(maker, &lines)?;
    let plain = server.address();
    let secure = if unified { plain } else { port.address() };
    let mut command = apache::java()?;
    command.arg(workspace::own_file("peers/java/TlsScript.java"));
    let said = process::run_command(&mut command, &cases(plain, secure, stores), LIMIT)?;
    ensure!(said.code == 0, "{}\n{}", said.stdout, said.stderr);
    let mut outcomes: Vec<String> = said.stdout.lines().map(str::to_owned).collect();
    for (title, bytes) in [
        ("a word in the clear", &b"ruok"[..]),
        ("a word and more", b"ruok\n\n\n"),
        ("HTTP", b"GET / HTTP/1.0\r\n\r\n"),
    ] {
        outcomes.push(format!("{title}: {:02x?}", raw(secure, bytes)?));
    }
    // Which alert this earns is each library's own affair.
    raw(secure, b"\x16\x03\x01\x00\x05hello")?;
    let conf = ask(plain, "conf")?;
    let secure_port = conf
        .lines()
        .find(|line| line.starts_with("secureClientPort"));
    let secure_port = secure_port.context("conf without secureClientPort")?;
    outcomes.push(secure_port.replace(&port.number().to_string(), "<port>"));
    Ok(outcomes)
}

/// With `TANDEM_TLS_SETTINGS=NAME` only those settings are tried.
#[test]
fn clients_are_taken_and_turned_away_as_by_apaches_server() -> Result<()> {
    let stores = make_stores()?;
    let only = std::env::var("TANDEM_TLS_SETTINGS").ok();
    for (name, settings) in [
        (
            "need",
            "ssl.keyStore.location=STORES/server.p12\nssl.keyStore.password=changeit\n\
             ssl.trustStore.location=STORES/trust.jks\nssl.trustStore.password=changeit\n",
        ),
        (
            "want",
            "ssl.keyStore.location=STORES/ecserver.pem\nssl.trustStore.location=STORES/trust.pem\n\
             ssl.clientAuth=want\nssl.enabledProtocols=TLSv1.3,TLSv1.2\n\
             ssl.ciphersuites=TLS_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n",
        ),
        (
            "none",
            "ssl.keyStore.location=STORES/legacy.p12\nssl.keyStore.passwordPath=STORES/password\nssl.clientAuth=none\n",
        ),
        (
            "unified",
            // Without the provider Apache's server, which sets it too late, turns all TLS clients away.
            "client.portUnification=true\n\
             authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n\
             ssl.keyStore.location=STORES/server.jks\nssl.keyStore.password=changeit\n\
             ssl.trustStore.location=STORES/trust.p12\nssl.trustStore.password=changeit\n",
        ),
    ] {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let (reference, ours) = at_once::both(|maker| outcomes(maker, stores.path(), settings))?;
        let pairs = reference.iter().zip(&ours);
        let differences: Vec<_> = pairs.filter(|(apache, ours)| apache != ours).collect();
        ensure!(
            differences.is_empty() && reference.len() == ours.len(),
            "{name}: not as Apache's server: {differences:#?}"
        );
        let refused = ours
            .iter()
            .filter(|line| line.ends_with(": refused"))
            .count();
        let connected = ours
            .iter()
            .filter(|line| line.ends_with(": connected"))
            .count();
        eprintln!(
            "{name}: {connected} connected, {refused} refused, {} lines compared",
            ours.len()
        );
        ensure!(connected > 5 && refused > 1, "{name}: {ours:#?}");
    }
    Ok(())
}

/// Connections that begin a handshake and stop there do not keep others waiting.
#[test]
fn unfinished_handshakes_hold_nobody_up() -> Result<()> {
    let stores = make_stores()?;
    let port = Port::take()?;
    let settings = format!(
        "secureClientPort={}\nsecureClientPortAddress=127.0.0.1\n\
         ssl.keyStore.location={stores}/server.p12\nssl.keyStore.password=changeit\n\
         ssl.trustStore.location={stores}/trust.p12\nssl.trustStore.password=changeit\n",
        port.number(),
        stores = stores.path().display(),
    );
    let server = ZooKeeper::start_with(Maker::Ours, &settings)?;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(port.address())?;
        stream.write_all(&[22, 3, 1, 2])?;
        waiting.push(stream);
    }
    ensure!(ask(server.address(), "ruok")? == "imok");
    let mut command = apache::java()?;
    command.arg(workspace::own_file("peers/java/TlsScript.java"));
    let case = format!(
        "word\tlocalhost:{}\tword=ruok\tstore={stores}/client.p12\ttrust={stores}/clienttrust.p12\n",
        port.number(),
        stores = stores.path().display(),
    );
    let said = process::run_command(&mut command, &case, LIMIT)?;
    ensure!(
        said.stdout == "word: imok\n",
        "{}\n{}",
        said.stdout,
        said.stderr
    );
    Ok(())
}
