//! Listens for admin connections and bounds them: in number, in size and in time.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tracing::{debug, info, warn};

use super::State;
use super::answer::{self, Scope};
use crate::config::Config;

/// Connections served at once; more wait in the socket's queue.
const CONNECTIONS: usize = 64;
/// For one request and its answer.
const REQUEST: Duration = Duration::from_secs(10);
/// For a request's header, also while a connection idles.
const HEADER: Duration = Duration::from_secs(5);
/// Time without accepting when the process has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Between two tries to bind the address of --metrics-listen.
const REBIND: Duration = Duration::from_secs(1);

/// The running thread; its socket is removed when this is dropped.
pub struct Server {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(config: &Config, state: State) -> anyhow::Result<Self> {
        let path = config.admin_dir.join(format!("{}.sock", std::process::id()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime of the admin thread")?;
        let unix = {
            let _entered = runtime.enter();
            UnixListener::from_std(bind(&config.admin_dir, &path)?).context("admin socket")?
        };
        let metrics = config.metrics_listen;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, async {
                    tokio::select! {
                        () = serve(state, unix, metrics) => {}
                        _ = stopped => {}
                    }
                });
            })
            .context("start the admin thread")?;
        info!(socket = %path.display(), "admin socket open");
        Ok(Self { path, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported.
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(directory: &Path, path: &Path) -> anyhow::Result<std::os::unix::net::UnixListener> {
    fs::create_dir_all(directory).with_context(|| {
        format!("--admin-dir: create {}; create it and let the proxy's user write there", directory.display())
    })?;
    remove_stale(directory);
    // Left by a process of the same number.
    let _ = fs::remove_file(path);
    let listener = std::os::unix::net::UnixListener::bind(path).with_context(|| {
        format!("--admin-dir: open {}; let the proxy's user write in that directory", path.display())
    })?;
    listener.set_nonblocking(true).context("admin socket")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).context("admin socket")?;
    Ok(listener)
}

/// Removes the sockets of proxies that were killed: nobody answers, and no such process lives.
fn remove_stale(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let pid = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sock")?.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        let refused = std::os::unix::net::UnixStream::connect(&path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if refused && !Path::new(&format!("/proc/{pid}")).exists() {
            // Another proxy may have been faster.
            let _ = fs::remove_file(path);
        }
    }
}

async fn serve(state: State, unix: UnixListener, metrics: Option<SocketAddr>) {
    let state = Rc::new(state);
    if let Some(address) = metrics {
        spawn_local(serve_metrics(state.clone(), address));
    }
    accept(state, Scope::Admin, async move || unix.accept().await.map(|(stream, _)| stream)).await;
}

/// Waits for the address: while a predecessor drains, it is the predecessor's.
async fn serve_metrics(state: Rc<State>, address: SocketAddr) {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if !told => warn!(%address, %error, "--metrics-listen: not bound yet, trying on"),
            Err(_) => {}
        }
        told = true;
        tokio::time::sleep(REBIND).await;
    };
    info!(%address, "metrics");
    accept(state, Scope::Public, async move || listener.accept().await.map(|(stream, _)| stream)).await;
}

async fn accept<S>(state: Rc<State>, scope: Scope, next: impl AsyncFn() -> io::Result<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let slots = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match next().await {
            Ok(stream) => {
                let state = state.clone();
                spawn_local(async move {
                    connection(state, scope, stream).await;
                    drop(slot);
                });
            }
            Err(error) => {
                debug!(%error, "admin accept");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + 'static>(state: Rc<State>, scope: Scope, stream: S) {
    let service = service_fn(move |request| respond(state.clone(), scope, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "admin connection");
    }
}

async fn respond(
    state: Rc<State>,
    scope: Scope,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    Ok(match tokio::time::timeout(REQUEST, answer::to(&state, scope, request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!("no answer within {} s\n", REQUEST.as_secs());
            answer::text(http::StatusCode::GATEWAY_TIMEOUT, message)
        }
    })
}
