//! Start-up as a list of steps, then the loop.

mod cleanup;
mod directories;
mod edges;
mod limits;
mod lock;
mod signals;
mod tasks;

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use gateway_common::admin::AgentStatus;
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Operation, View};
use crate::announce::{Announcer, Watch};
use crate::config::{Config, ProxyMode};
use crate::datapath::Datapath;
use crate::objects_file::{self, Objects, ObjectsFile};
use crate::proxy::supervise::ADOPT;
use crate::proxy::{Spawn, Supervisor, control};
use crate::reconcile::held::Held;
use crate::reconcile::kernel::Kernel;
use crate::reconcile::{Adopt, Input, News, Parts, Proxies, Publisher, Reconciler, Spawning};
use crate::source::Source;
use crate::status_dir::StatusDir;
use crate::unix;

use signals::{Signals, Told};
use tasks::Tasks;

pub use cleanup::cleanup;

const TICK: Duration = Duration::from_millis(250);
/// How often the kernel is compared with what it should be, without a cause.
const DRIFT: Duration = Duration::from_secs(15);
/// Inputs that wait for the loop.
const QUEUE: usize = 1024;

/// Runs the agent until SIGTERM or SIGINT; traffic goes on after it.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut signals = Signals::listen()?;
    prepare(&config)?;
    let _lock = tokio::select! {
        lock = lock::take(Some(&config.runtime_dir)) => lock?,
        () = signals.end() => return Ok(()),
    };
    let held = Held::open(&config.state_dir)?;
    let mut datapath = Datapath::open(&edges::datapath(&config)).context("open the datapath")?;
    let mut tasks = Tasks::default();
    if let Some(logger) = datapath.take_logger() {
        tasks.start("eBPF log", async { Ok(logger.forward().await?) });
    }
    let (announcer, connection) = Announcer::connect()?;
    tasks.start("netlink", async {
        connection.await;
        Err(anyhow!("the kernel closed the connection"))
    });
    let mut source = Source::directory(&config.source, &config.state_dir)
        .with_context(|| format!("watch the source directory {} (--source)", config.source.display()))?;

    let survivors = directories::living_proxies(&config);
    let (events_in, mut events) = mpsc::channel(QUEUE);
    let (exits_in, mut exits) = mpsc::channel(QUEUE);
    let (operations_in, mut operations) = mpsc::channel(16);
    let (view_in, view) = watch::channel(first_view(&config));
    let user = config.proxy_user;
    let listener = control::bind(&config.control_socket(), user.uid, user.gid)?;
    tasks.start(
        "control socket",
        async move { Err(control::accept(listener, user.uid, events_in).await.into()) },
    );
    let listener = unix::bind(&config.agent_socket())?;
    tasks.start("admin socket", async { Err(admin::serve(listener, view, operations_in).await.into()) });

    // Only from now on can a proxy bring its sockets: what came before may have taken long.
    let open = Instant::now();
    let mut reconciler = Reconciler::new(Parts {
        params: edges::params(&config, &held),
        held,
        kernel: Kernel::new(datapath, announcer, edges::devices(&config), config.workers.into()),
        proxies: Proxies::new(spawning(&config, open, !survivors.is_empty(), exits_in), drain_ms(&config)),
        publisher: publisher(&config, started, &source, view_in)?,
        adopt: Some(Adopt::new(survivors, open + ADOPT)),
    });

    let mut devices = Watch::open()?;
    let mut tick = tokio::time::interval(TICK);
    let mut drift = tokio::time::interval(DRIFT);
    tracing::info!(source = %config.source.display(), node = config.node_name, "reconciling");
    loop {
        let input = tokio::select! {
            update = source.next() => Input::Objects(update.context("the source ended")?),
            Some(event) = events.recv() => Input::Proxy(event),
            Some(exited) = exits.recv() => Input::Exited(exited),
            Some(operation) = operations.recv() => Input::Operation(operation),
            changed = devices.changed() => Input::Node(changed?),
            told = signals.next() => match told {
                Told::ReplaceProxy => Input::Operation(Operation::ReplaceProxy),
                Told::End => break,
            },
            _ = tick.tick() => Input::Tick,
            _ = drift.tick() => Input::Drift,
            error = tasks.ended() => return Err(error),
        };
        let now = Instant::now();
        reconciler.take(input, now);
        while let Ok(event) = events.try_recv() {
            reconciler.take(Input::Proxy(event), now);
        }
        reconciler.act(now).await;
    }
    tracing::info!(
        "ending; programs, routes and the proxy stay and traffic goes on (`gateway-agent cleanup` removes them)"
    );
    Ok(())
}

/// What process and node have to be before anything is opened.
fn prepare(config: &Config) -> anyhow::Result<()> {
    if let ProxyMode::Spawn = config.proxy {
        directories::require_program(&config.proxy_binary)?;
    }
    limits::raise()?;
    directories::prepare(config)
}

fn drain_ms(config: &Config) -> u64 {
    u64::try_from(config.drain_deadline.as_millis()).unwrap_or(u64::MAX)
}

fn spawning(
    config: &Config,
    now: Instant,
    survivors: bool,
    exits: mpsc::Sender<crate::proxy::spawn::Exited>,
) -> Option<Spawning> {
    let ProxyMode::Spawn = config.proxy else { return None };
    let args = [
        ("--control", config.control_socket().into_os_string()),
        ("--admin-dir", config.proxy_dir().into_os_string()),
        ("--workers", config.workers.to_string().into()),
        ("--drain-deadline", config.drain_deadline.as_secs_f64().to_string().into()),
        ("--log", config.log.clone().into()),
        ("--access-log", config.access_log.clone().into()),
    ];
    let metrics = config.metrics_listen.map(|address| ("--metrics-listen", address.to_string().into()));
    let args = args.into_iter().chain(metrics).flat_map(|(name, value)| [name.into(), value]).collect();
    let user = config.proxy_user;
    let spawn = Spawn { binary: config.proxy_binary.clone(), uid: user.uid, gid: user.gid, args };
    Some(Spawning {
        spawn,
        supervisor: Supervisor::new(now, survivors),
        exits,
        socket_dir: config.proxy_dir(),
    })
}

fn publisher(
    config: &Config,
    started: Instant,
    source: &Source,
    view: watch::Sender<View>,
) -> anyhow::Result<Publisher> {
    Ok(Publisher {
        origins: source.origins(),
        objects_file: ObjectsFile::new(config.runtime_dir.join(objects_file::NAME)),
        status_dir: config.status_dir.as_deref().map(StatusDir::open).transpose()?,
        view,
        started,
        news: News::default(),
    })
}

fn first_view(config: &Config) -> View {
    let status = AgentStatus {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_seconds: 0,
        node: config.node_name.clone(),
        source: format!("directory {}", config.source.display()),
        generation: 0,
        proxies: Vec::new(),
        spawns_proxies: matches!(config.proxy, ProxyMode::Spawn),
        devices: config.devices.clone(),
        exclude_devices: config.exclude_devices.clone(),
        source_errors: Vec::new(),
        errors: Vec::new(),
    };
    View { status, objects: Objects::new() }
}
