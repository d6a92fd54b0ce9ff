//! Shell: the AdminServer: commands over HTTP, answered by the server's loop
//! (JettyAdminServer.java), and the endpoint for Prometheus.

use std::fmt::Write as _;
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use crate::operator::commands::{self, Call, Disk};
use crate::operator::facts::{Facts, MetricsProvider};
use crate::operator::http::{self, HttpOptions, HttpTls, Request, Response, Service, escaped};
use crate::operator::prometheus;
use crate::pipeline::commit::Commit;
use crate::pipeline::run::Pipeline;
use crate::storage::files::Directories;
use crate::tls::options::TlsOptions;
use crate::tls::settings::{self, Prepared};

/// Questions that wait for the loop at once; whoever asks more waits before.
const WAITING: usize = 64;

/// How long a client of the endpoint for Prometheus may do nothing, as in Jetty.
const METRICS_IDLE: Duration = Duration::from_secs(30);

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// Where the AdminServer is, and how it behaves.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// `admin.serverAddress`.
    pub address: String,
    /// `admin.serverPort`.
    pub port: u16,
    /// `admin.idleTimeout`.
    pub idle: Duration,
    /// `admin.commandURL`.
    pub command_url: String,
    /// `admin.portUnification` and `admin.forceHttps`: TLS as well, or nothing else.
    pub tls: Option<(TlsOptions, bool)>,
}

/// Where the endpoint for Prometheus is.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// `metricsProvider.httpHost`.
    pub address: String,
    /// `metricsProvider.httpPort`.
    pub port: u16,
}

/// A question to the loop.
#[derive(Debug)]
pub enum Question {
    /// A command; the answer is JSON.
    Command(Call, oneshot::Sender<String>),
    /// A client came to the AdminServer without TLS though there is TLS.
    Insecure,
    /// The metrics of these names, or all.
    Metrics(Vec<String>, oneshot::Sender<String>),
}

/// Answers one question.
pub fn answer<C: Commit>(facts: &Facts, pipeline: &mut Pipeline<C>, question: Question) {
    // Whoever asked may have gone.
    match question {
        Question::Command(call, reply) => {
            let _ = reply.send(commands::run(facts, pipeline, &call).pretty());
        }
        Question::Insecure => pipeline.stats.connections.insecure_admin += 1,
        Question::Metrics(names, reply) => {
            let process = facts.metrics == MetricsProvider::Prometheus { process: true };
            let families = prometheus::families(pipeline, process);
            let _ = reply.send(prometheus::text(&families, &names));
        }
    }
}

/// The way to the loop.
#[derive(Clone, Debug)]
pub struct Asker {
    questions: mpsc::Sender<Question>,
    serving: Arc<AtomicBool>,
}

/// The loop's end of it.
#[derive(Debug)]
pub struct Questions {
    /// The questions as they come.
    pub inbox: mpsc::Receiver<Question>,
    serving: Arc<AtomicBool>,
}

impl Questions {
    /// The loop answers from now on.
    pub fn begin(&self) {
        self.serving.store(true, Ordering::Release);
    }
}

/// A way to the loop, which does not answer yet.
pub fn channel() -> (Asker, Questions) {
    let (questions, inbox) = mpsc::channel(WAITING);
    let serving = Arc::new(AtomicBool::new(false));
    let asker = Asker {
        questions,
        serving: serving.clone(),
    };
    (asker, Questions { inbox, serving })
}

impl Asker {
    /// The answer; `None` if the loop has ended.
    async fn ask(
        &self,
        question: impl FnOnce(oneshot::Sender<String>) -> Question,
    ) -> Option<String> {
        let (reply, told) = oneshot::channel();
        self.questions.send(question(reply)).await.ok()?;
        told.await.ok()
    }
}

/// The AdminServer.
struct Admin {
    asker: Asker,
    directories: Directories,
    command_url: String,
}

impl Service for Admin {
    fn insecure(&self) {
        // One that is not counted because there is too much to do is not missed.
        let _ = self.asker.questions.try_send(Question::Insecure);
    }

    async fn answer(&self, request: Request) -> Response {
        match request.method.as_str() {
            "GET" | "HEAD" => {}
            "POST" => {
                let message = "HTTP method POST is not supported by this URL";
                return Response::error(405, "Method Not Allowed", &request.path, message);
            }
            "OPTIONS" => {
                let mut response = Response::empty(200, "OK");
                response.headers = "Allow: GET, HEAD, OPTIONS\r\n";
                return response;
            }
            "TRACE" => return Response::empty(403, "Forbidden"),
            "PUT" | "DELETE" => return Response::empty(405, "Method Not Allowed"),
            _ => return Response::empty(501, "Not Implemented"),
        }
        let Some(command) = self.command_of(&request.path) else {
            return Response::error(404, "Not Found", &request.path, "Not Found");
        };
        match command.strip_prefix('/') {
            None | Some("") => Response::ok(Some("text/html;charset=utf-8"), self.links()),
            Some(name) => {
                let body = self.run(name, &request).await;
                Response::ok(Some("application/json"), body)
            }
        }
    }
}

impl Admin {
    /// What follows the commands' URL, if it is that.
    fn command_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.command_url)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    fn links(&self) -> String {
        let mut page = String::new();
        for name in commands::primary_names() {
            let url = escaped(&self.command_url);
            let _ = write!(page, "<a href=\"{url}/{name}\">{name}</a>\n<br/>\n");
        }
        page
    }

    async fn run(&self, name: &str, request: &Request) -> String {
        let Some(command) = commands::primary_name(name) else {
            let error = format!("Unknown command: {name}");
            return commands::failure(name, &error).pretty();
        };
        let not_serving = || commands::failure(name, NOT_SERVING).pretty();
        if commands::needs_server(command) && !self.asker.serving.load(Ordering::Acquire) {
            return not_serving();
        }
        let call = Call {
            command,
            trace_mask: request.parameter("traceMask").map(str::to_owned),
            disk: self.disk(command),
        };
        let answer = self.asker.ask(|reply| Question::Command(call, reply));
        answer.await.unwrap_or_else(not_serving)
    }

    /// What a command tells of the disk.
    fn disk(&self, command: &str) -> Disk {
        let mut disk = Disk {
            last_snapshot: (-1, -1),
            ..Disk::default()
        };
        match command {
            "dirs" | "server_stats" | "stats" => {
                disk.snapshot_bytes = Directories::size(&self.directories.snapshots);
                disk.log_bytes = Directories::size(&self.directories.logs);
            }
            "last_snapshot" => {
                let files = self.directories.snapshot_files().unwrap_or_default();
                if let Some(file) = files.last() {
                    let modified = file.path.metadata().and_then(|data| data.modified()).ok();
                    let age = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                    let seconds = age.and_then(|age| i64::try_from(age.as_secs()).ok());
                    disk.last_snapshot = (file.zxid, seconds.unwrap_or(-1));
                }
            }
            _ => {}
        }
        disk
    }
}

/// The endpoint for Prometheus.
struct Metrics {
    asker: Asker,
}

impl Service for Metrics {
    async fn answer(&self, request: Request) -> Response {
        if request.path != "/metrics" {
            return Response::error(404, "Not Found", &request.path, "Not Found");
        }
        match request.method.as_str() {
            "GET" | "HEAD" | "POST" => {}
            _ => return Response::empty(405, "Method Not Allowed"),
        }
        let names = request.query.into_iter().filter(|(key, _)| key == "name[]");
        let names = names.map(|(_, name)| name).collect();
        match self
            .asker
            .ask(|reply| Question::Metrics(names, reply))
            .await
        {
            Some(text) => Response::ok(Some(prometheus::CONTENT_TYPE), text),
            None => Response::error(503, "Service Unavailable", "/metrics", NOT_SERVING),
        }
    }
}

/// Starts the AdminServer. A port that is taken is told and nothing else: the server itself does
/// not need it.
pub fn start(options: &AdminOptions, asker: Asker, directories: Directories) {
    let AdminOptions {
        address,
        port,
        idle,
        command_url,
        tls,
    } = options.clone();
    let url = command_url.clone();
    let started = tls.map(prepare).transpose().and_then(|tls| {
        let http = HttpOptions {
            thread: "admin-server",
            idle,
            tls,
        };
        let listener = listen(&address, port)?;
        http::serve(listener, http, move || Admin {
            asker,
            directories,
            command_url,
        })
    });
    match started {
        Ok(()) => tracing::info!(
            "Started AdminServer on address {address}, port {port} and command URL {url}"
        ),
        Err(error) => tracing::error!(
            "Problem starting AdminServer on address {address}, port {port} and command URL {url}: {error}; the server goes on without it: set admin.serverPort, or admin.enableServer=false"
        ),
    }
}

/// Starts the endpoint for Prometheus.
///
/// # Errors
/// A port that cannot be had.
pub fn start_metrics(options: &MetricsOptions, asker: Asker) -> std::io::Result<()> {
    let listener = listen(&options.address, options.port)?;
    let http = HttpOptions {
        thread: "metrics",
        idle: METRICS_IDLE,
        tls: None,
    };
    http::serve(listener, http, move || Metrics { asker })?;
    tracing::info!(
        "Started the metrics endpoint at host {}, port {}: /metrics",
        options.address,
        options.port
    );
    Ok(())
}

fn prepare((options, only): (TlsOptions, bool)) -> std::io::Result<HttpTls> {
    let Prepared { config, warnings } =
        settings::prepare(&options).map_err(std::io::Error::other)?;
    for warning in warnings {
        tracing::warn!("AdminServer: {warning}");
    }
    Ok(HttpTls { config, only })
}

fn listen(address: &str, port: u16) -> std::io::Result<TcpListener> {
    let addresses: Vec<_> = (address, port).to_socket_addrs()?.collect();
    TcpListener::bind(&*addresses)
}
