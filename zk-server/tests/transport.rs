//! Shell: streams through TLS: handshakes elsewhere, readers that are slow, and the end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "this is a test")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::BytesMut;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use tokio::io::Interest;
use tokio::net::TcpStream;
use zk_server::pipeline::transport::Transport;
use zk_server::tls::acceptor::Acceptor;
use zk_server::tls::options::{ClientAuth, StoreOptions, TlsOptions};
use zk_server::tls::settings;

/// More than sockets and TLS buffers hold.
const MUCH: usize = 24 << 20;

type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

#[derive(Debug)]
struct TrustsAnybody;

impl ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A server's end of a connection to a client that runs on a thread of its own.
async fn connect<T: Send + 'static>(
    protocol: &str,
    client: impl FnOnce(Client) -> T + Send + 'static,
) -> (Transport, JoinHandle<T>, Acceptor) {
    let options = TlsOptions {
        key_store: StoreOptions {
            key: "ssl.keyStore.location",
            path: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tls/ec.pem"),
            password: String::new(),
            password_path: None,
            kind: None,
        },
        trust_store: None,
        client_auth: ClientAuth::None,
        protocols: vec![protocol.to_owned()],
        cipher_suites: None,
        handshake_limit: None,
    };
    let prepared = settings::prepare(&options).unwrap();
    let acceptor = Acceptor::start(prepared.config, None).unwrap();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAnybody))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = std::net::TcpStream::connect(address).unwrap();
        client(StreamOwned::new(session, socket))
    });
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let established = acceptor.accept(TcpStream::from_std(socket).unwrap()).await;
    let established = established.unwrap();
    assert_eq!(established.subject, None);
    let transport = Transport::secure(established.stream, established.session);
    (transport, client, acceptor)
}

async fn read(transport: &Transport, buffer: &mut BytesMut) -> usize {
    loop {
        match transport.try_read_buf(buffer) {
            Ok(count) => return count,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                transport.ready(Interest::READABLE).await.unwrap();
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[tokio::test]
async fn what_comes_with_the_handshakes_end_is_not_lost_and_an_end_is_told() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let (transport, client, _acceptor) = connect(protocol, |mut client| {
            client.write_all(b"at once").unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        })
        .await;
        let mut buffer = BytesMut::new();
        while buffer.len() < 7 {
            assert_ne!(read(&transport, &mut buffer).await, 0);
        }
        assert_eq!(buffer, "at once");
        assert_eq!(transport.try_write(b"bye").unwrap(), 3);
        // The runtime may not know yet that the socket, which is new to it, can be written to.
        while !transport.try_flush().unwrap() {
            transport.ready(Interest::WRITABLE).await.unwrap();
        }
        // Without close_notify `read_to_end` would fail.
        transport.say_end();
        drop(transport);
        assert_eq!(client.join().unwrap(), b"bye");
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let (go, wait) = std::sync::mpsc::channel();
        let (transport, client, _acceptor) = connect(protocol, move |mut client| {
            client.flush().unwrap();
            client.write_all(b"x").unwrap();
            wait.recv().unwrap();
            let mut all = vec![0; MUCH];
            client.read_exact(&mut all).unwrap();
            all
        })
        .await;
        read(&transport, &mut BytesMut::new()).await;
        let all: Vec<u8> = (0..MUCH).map(|at| (at / 251) as u8).collect();
        let (mut sent, mut blocked) = (0, false);
        loop {
            let full = if sent < all.len() {
                match transport.try_write(&all[sent..]) {
                    Ok(count) => {
                        sent += count;
                        false
                    }
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::WouldBlock);
                        true
                    }
                }
            } else if transport.try_flush().unwrap() {
                break;
            } else {
                true
            };
            if full {
                if !blocked {
                    blocked = true;
                    go.send(()).unwrap();
                }
                transport.ready(Interest::WRITABLE).await.unwrap();
            }
        }
        assert!(blocked);
        assert!(client.join().unwrap() == all);
    }
}
