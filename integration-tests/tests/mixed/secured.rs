//! Shell: Kafka's secured set-up: the Apache broker protects its znodes (`zookeeper.set.acl=true`), logs in with
//! SASL over TLS and shows a certificate; on Apache's ZooKeeper and on ours the znodes get the same ACLs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::at_once;
use integration_tests::normalise::Normaliser;
use integration_tests::ports::Port;
use integration_tests::process::run_command;
use integration_tests::stack::{Broker, Maker, ZooKeeper};
use integration_tests::stock_tools::{self, class};
use integration_tests::transcript::Transcript;
use integration_tests::workspace::Scratch;
use integration_tests::{compare, python};

const USERS: &str = r#"
Server {
    org.apache.zookeeper.server.auth.DigestLoginModule required
    user_super="adminsecret" user_kafka="kafka secret";
};
Client {
    org.apache.zookeeper.server.auth.DigestLoginModule required username="kafka" password="kafka secret";
};
"#;

const LIMIT: Duration = Duration::from_secs(60);

/// What each of both needs to know of the other: users, keys and certificates.
struct Secrets {
    scratch: Scratch,
}

impl Secrets {
    fn new() -> Result<Self> {
        let scratch = Scratch::new("secrets")?;
        fs::write(scratch.path().join("jaas.conf"), USERS)?;
        let secrets = Self { scratch };
        for (name, subject) in [
            ("server", "CN=zookeeper"),
            ("client", "CN=broker, O=Tandem"),
        ] {
            secrets.make_key(name, subject)?;
        }
        secrets.trust("client", "server")?;
        secrets.trust("server", "client")?;
        Ok(secrets)
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    fn login(&self) -> String {
        format!(
            "-Djava.security.auth.login.config={}",
            self.path("jaas.conf")
        )
    }

    fn make_key(&self, name: &str, subject: &str) -> Result<()> {
        let store = self.path(&format!("{name}.p12"));
        let certificate = self.path(&format!("{name}.cer"));
        keytool(&[
            "-genkeypair",
            "-keyalg",
            "RSA",
            "-keysize",
            "2048",
            "-validity",
            "30",
            "-dname",
            subject,
            "-ext",
            "san=ip:127.0.0.1,dns:localhost",
            "-alias",
            name,
            "-keystore",
            &store,
        ])?;
        keytool(&[
            "-exportcert",
            "-alias",
            name,
            "-file",
            &certificate,
            "-keystore",
            &store,
        ])
    }

    /// Lets one trust the other's certificate.
    fn trust(&self, who: &str, whom: &str) -> Result<()> {
        keytool(&[
            "-importcert",
            "-noprompt",
            "-alias",
            whom,
            "-file",
            &self.path(&format!("{whom}.cer")),
            "-keystore",
            &self.path(&format!("{who}-trusts.p12")),
        ])
    }

    /// The stores of one side, under the names that it has for them.
    fn stores(&self, who: &str, key: &str, trust: &str) -> String {
        let (own, others) = (format!("{who}.p12"), format!("{who}-trusts.p12"));
        format!(
            "{key}.location={}\n{key}.password=secret\n{trust}.location={}\n{trust}.password=secret\n",
            self.path(&own),
            self.path(&others),
        )
    }
}

fn keytool(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("keytool");
    command
        .args(arguments)
        .args(["-storetype", "PKCS12", "-storepass", "secret"]);
    let finished = run_command(&mut command, "", LIMIT)?;
    ensure!(
        finished.code == 0,
        "keytool: {}{}",
        finished.stdout,
        finished.stderr
    );
    Ok(())
}

fn acl_tree(server: &ZooKeeper, title: &str, transcript: &mut Transcript) -> Result<()> {
    let mut finished = python::run("acl_tree.py", &[&server.connect()])?;
    ensure!(finished.code == 0, "{}", finished.stderr);
    finished.stderr.clear();
    transcript.command(title, &finished, &Normaliser::new());
    Ok(())
}

/// A broker's life, and what its znodes look like meanwhile.
fn play(maker: Maker, secrets: &Secrets) -> Result<Transcript> {
    let secure = Port::take()?;
    let settings = format!(
        "secureClientPort={}\nserverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
         authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n\
         authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n\
         DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n{}",
        secure.number(),
        secrets.stores("server", "ssl.keyStore", "ssl.trustStore"),
    );
    let server = ZooKeeper::start_with_properties(maker, &settings, &[&secrets.login()])?;
    let tls = format!(
        "zookeeper.ssl.client.enable=true\n\
         zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty\n{}",
        secrets.stores(
            "client",
            "zookeeper.ssl.keystore",
            "zookeeper.ssl.truststore"
        ),
    );
    let extra = format!(
        "zookeeper.set.acl=true\noffsets.topic.num.partitions=2\n\
         authorizer.class.name=kafka.security.authorizer.AclAuthorizer\nsuper.users=User:ANONYMOUS\n{tls}"
    );
    let connect = secure.address().to_string();
    let mut broker = Broker::prepare(Maker::Apache, &connect, &extra)?;
    broker.use_java_options(&[secrets.login()]);
    broker.start_again()?;
    let mut transcript = Transcript::default();
    for (class, arguments) in WORK {
        let mut all = vec!["--bootstrap-server".to_owned(), broker.bootstrap()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let finished = stock_tools::run_with_input(class, &all, "a message\n")?;
        transcript.command(&arguments.join(" "), &finished, &Normaliser::new());
    }
    acl_tree(&server, "znodes of a secured broker", &mut transcript)?;
    broker.stop()?;
    let tls_file = secrets.path("tls.properties");
    fs::write(Path::new(&tls_file), tls)?;
    for mode in ["unsecure", "secure"] {
        let arguments = [
            "--zookeeper.acl",
            mode,
            "--zookeeper.connect",
            &connect,
            "--zk-tls-config-file",
            &tls_file,
        ];
        let mut command = integration_tests::apache::java()?;
        command
            .arg(secrets.login())
            .arg("kafka.admin.ZkSecurityMigrator")
            .args(arguments);
        let finished = run_command(&mut command, "", LIMIT)?;
        ensure!(finished.code == 0, "{}{}", finished.stdout, finished.stderr);
        acl_tree(&server, mode, &mut transcript)?;
    }
    Ok(transcript)
}

/// What the broker is asked to do: something for each kind of znode.
const WORK: &[(&str, &[&str])] = &[
    (
        class::TOPICS,
        &["--create", "--topic", "first", "--partitions", "2"],
    ),
    (class::TOPICS, &["--create", "--topic", "second"]),
    (
        class::CONFIGS,
        &[
            "--alter",
            "--entity-type",
            "topics",
            "--entity-name",
            "first",
            "--add-config",
            "retention.ms=100000",
        ],
    ),
    (
        class::CONFIGS,
        &[
            "--alter",
            "--entity-type",
            "users",
            "--entity-name",
            "alice",
            "--add-config",
            "SCRAM-SHA-256=[iterations=4096,password=x]",
        ],
    ),
    (
        class::CONFIGS,
        &[
            "--alter",
            "--entity-type",
            "brokers",
            "--entity-name",
            "0",
            "--add-config",
            "log.cleaner.threads=2",
        ],
    ),
    (
        "kafka.admin.AclCommand",
        &[
            "--add",
            "--allow-principal",
            "User:alice",
            "--operation",
            "Read",
            "--topic",
            "first",
        ],
    ),
    (class::CONSOLE_PRODUCER, &["--topic", "first"]),
    (
        class::CONSOLE_CONSUMER,
        &[
            "--topic",
            "first",
            "--from-beginning",
            "--max-messages",
            "1",
            "--group",
            "readers",
        ],
    ),
    (class::TOPICS, &["--delete", "--topic", "second"]),
    (class::TOPICS, &["--list"]),
];

#[test]
fn a_secured_apache_broker_protects_its_znodes_on_our_zookeeper() -> Result<()> {
    let secrets = Secrets::new()?;
    let (reference, ours) = at_once::both(|maker| play(maker, &secrets))?;
    let protected = reference.to_string();
    ensure!(protected.contains("sasl:kafka:31"), "{protected}");
    ensure!(protected.contains("x509:"), "{protected}");
    let differences = compare::differences(&reference, &ours);
    ensure!(
        differences.is_empty(),
        "not as on Apache's server:\n{differences}"
    );
    Ok(())
}
