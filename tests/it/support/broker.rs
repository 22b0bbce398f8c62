//! A running broker: the library on a task with a clock that tests move, or the binary in a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use aquila::app::{App, Ending, Prepared, Sockets};
use aquila::clock::Clock;
use aquila::config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::until;

/// A replica alone is right to log in by itself, so a test that counts logins has to tell a store that is away from a
/// machine that is busy. Still less than a login may take.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// Where it is, and how it is ended.
pub(crate) struct Broker {
    pub(crate) callers: SocketAddr,
    pub(crate) ops: SocketAddr,
    life: Option<Life>,
}

enum Life {
    Task { ending: Ending, service: JoinHandle<bool> },
    Process(Child),
}

impl Broker {
    /// The library, in this process.
    pub(super) async fn here(file: &Path, clock: Clock) -> Self {
        // Without the environment: a proxy of the machine that runs the tests is no part of them.
        let loaded = config::load_with(file, &|_| None).unwrap_or_else(|report| panic!("{report:?}"));
        let prepared = Prepared::patient(loaded, clock, STORE_LIMIT);
        let (prepared, _) = prepared.unwrap_or_else(|report| panic!("{report:?}"));
        let sockets = Sockets::bind(prepared.config()).await.unwrap();
        let app = App::new(prepared, sockets).unwrap();
        let (callers, ops, ending) = (app.callers_address(), app.ops_address(), Ending::default());
        let service = TaskTracker::new().spawn(app.run(ending.clone()));
        Self { callers, ops, life: Some(Life::Task { ending, service }) }
    }

    /// The binary. Its output goes to `stdout.txt` and `stderr.txt` beside its configuration.
    pub(super) async fn elsewhere(file: &Path, environment: &[(String, String)]) -> Self {
        let output = |name: &str| File::create(file.with_file_name(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aquila"));
        command.arg("serve").arg("--config").arg(file).stdout(output("stdout.txt")).stderr(output("stderr.txt"));
        // For the same reason.
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        let mut broker = Self {
            callers: SocketAddr::from(([127, 0, 0, 1], 0)),
            ops: SocketAddr::from(([127, 0, 0, 1], 0)),
            life: Some(Life::Process(command.spawn().unwrap())),
        };
        let log = file.with_file_name("stderr.txt");
        until("the process says where it serves", async || match addresses(&log) {
            Some((callers, ops)) => {
                (broker.callers, broker.ops) = (callers, ops);
                true
            }
            None => false,
        })
        .await;
        broker
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) {
        match &self.life {
            Some(Life::Task { ending, .. }) => ending.reload.notify_one(),
            Some(Life::Process(child)) => kill_process(pid(child), Signal::HUP).unwrap(),
            None => {}
        }
    }

    /// Says that something may have been cured, as SIGHUP does.
    pub(crate) fn forgive(&self) {
        let Some(Life::Task { ending, .. }) = &self.life else { panic!("a process is told by a signal") };
        ending.reload.notify_one();
    }

    /// Stops the process where it stands; comes back when no thread of it runs any more.
    pub(crate) async fn freeze(&self) {
        let Some(Life::Process(child)) = &self.life else { panic!("only a process of its own can be stopped") };
        kill_process(pid(child), Signal::STOP).unwrap();
        let tasks = format!("/proc/{}/task", child.id());
        let stopped = |stat: String| stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T');
        let threads = || fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().path().join("stat"));
        let frozen = async || threads().all(|stat| fs::read_to_string(stat).is_ok_and(stopped));
        until("the process stands still", frozen).await;
    }

    /// Lets a stopped process go on.
    pub(crate) fn thaw(&self) {
        let Some(Life::Process(child)) = &self.life else { panic!("only a process of its own can be stopped") };
        kill_process(pid(child), Signal::CONT).unwrap();
    }

    /// Ends it, with everything in progress and everything written.
    pub(crate) async fn stop(mut self) {
        match self.life.take() {
            Some(Life::Task { ending, service }) => {
                ending.graceful.cancel();
                assert!(service.await.unwrap(), "the service did not finish what it had");
            }
            Some(Life::Process(mut child)) => {
                kill_process(pid(&child), Signal::TERM).unwrap();
                until("the process ends", async || child.try_wait().unwrap().is_some()).await;
            }
            None => {}
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.life.take() {
            Some(Life::Task { ending, .. }) => {
                ending.graceful.cancel();
                ending.immediate.cancel();
            }
            // A test that failed must not leave it behind.
            Some(Life::Process(mut child)) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            None => {}
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

fn addresses(log: &PathBuf) -> Option<(SocketAddr, SocketAddr)> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("\"server.address\""))?;
    let line: Value = serde_json::from_str(line).ok()?;
    let address = |field: &str| line.get(field)?.as_str()?.parse().ok();
    Some((address("server.address")?, address("ops.address")?))
}
