//! What a service manager is told by the real process: when it is ready, reloads, stops, and that it is alive.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as Bound};
use std::path::Path;
use std::time::Duration;

use aquila::clock::Clock;
use rustix::process::Signal;
use tokio::net::{TcpListener, UnixDatagram};

use crate::support::PATIENCE;
use crate::support::house::{House, Plan};
use crate::support::process::{Process, aquila};
use crate::support::wire::get;

/// The end of the line at which a service manager listens.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    /// Listens at a path in this folder.
    fn in_the_open(folder: &Path) -> Self {
        let path = folder.join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), name: path.to_str().unwrap().to_owned() }
    }

    /// Listens in the abstract space, under the name of this folder.
    fn hidden(folder: &Path) -> Self {
        let name = folder.to_str().unwrap();
        let socket = Bound::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket: UnixDatagram::from_std(socket).unwrap(), name: format!("@{name}") }
    }

    fn environment(&self, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        let own = ("NOTIFY_SOCKET", self.name.clone());
        more.iter().map(|(name, value)| (*name, (*value).to_owned())).chain([own]).collect()
    }

    /// The next message.
    async fn told(&self) -> String {
        let mut buffer = [0; 4096];
        let length = tokio::time::timeout(PATIENCE, self.socket.recv(&mut buffer)).await.expect("a message").unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// What was told and not read yet.
    fn rest(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let read =
            || self.socket.try_recv(&mut buffer).ok().map(|length| String::from_utf8_lossy(&buffer[..length]).into());
        std::iter::from_fn(read).collect()
    }
}

#[tokio::test]
async fn ready_is_told_when_both_doors_answer_and_stopping_when_the_end_begins() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::in_the_open(folder.path());
    let server = "shutdown_delay = \"1s\"\n".to_owned();
    let plan = Plan { server, environment: manager.environment(&[]), ..Plan::default() };
    let house = House::within(folder, plan).await;
    assert_eq!(manager.told().await, "READY=1\nSTATUS=serving");
    assert_eq!(get("/readyz").send(house.ops).await.status, 200);
    assert_eq!(get("/healthz").send(house.callers).await.status, 200);

    house.process.signal(Signal::TERM);
    assert_eq!(manager.told().await, "STOPPING=1\nSTATUS=finishing what is in progress");
    // The delay has begun: it is told, and callers are still served.
    assert_eq!(get("/healthz").send(house.callers).await.status, 200);
    assert_eq!(house.process.ended().await.code(), Some(0));
    // Nobody asked to be told that it is alive.
    assert_eq!(manager.rest(), [""; 0]);
}

#[tokio::test]
async fn who_cannot_open_a_door_is_never_ready() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::in_the_open(folder.path());
    let house = House::open().await;
    let text = house.configuration();
    let ops = text.find("[ops]\n").unwrap() + "[ops]\n".len();
    let (head, tail) = text.split_at(ops);
    let tail = tail.replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1);
    let path = house.folder().join("taken.toml");
    std::fs::write(&path, format!("{head}{tail}")).unwrap();
    let mut command = aquila([Path::new("serve"), Path::new("--config"), &path]);
    let ended = Process::start(command.envs(manager.environment(&[]))).ended().await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("ops.listen: cannot listen"), "{}", ended.stderr);
    assert_eq!(manager.rest(), [""; 0]);
}

#[tokio::test]
async fn a_reload_is_told_when_it_begins_and_when_it_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::hidden(folder.path());
    let house = House::within(folder, Plan { environment: manager.environment(&[]), ..Plan::default() }).await;
    assert_eq!(manager.told().await, "READY=1\nSTATUS=serving");

    let asked = Clock::system().monotonic();
    house.hang_up();
    let told = manager.told().await;
    let lines: Vec<_> = told.lines().collect();
    let [first, at, status] = lines[..] else { panic!("{told}") };
    assert_eq!((first, status), ("RELOADING=1", "STATUS=reading the configuration again"));
    let at = Duration::from_micros(at.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap());
    assert!(asked.as_micros() <= at.as_micros() && at <= Clock::system().monotonic(), "{asked:?} {at:?}");
    assert_eq!(manager.told().await, "READY=1\nSTATUS=serving");
    assert_eq!(get("/status.json").send(house.ops).await.json()["configuration"]["generation"], 2);

    // A file that changes is no reload that the manager waits for, but people are told what came of it.
    let good = house.configuration();
    house.configure(&good.replace("[audit]", "[oddit]"));
    let refused = "serving as before; the new configuration was refused, and the log tells why";
    assert_eq!(manager.told().await, format!("STATUS={refused}"));
    house.hang_up();
    assert!(manager.told().await.starts_with("RELOADING=1\n"));
    assert_eq!(manager.told().await, format!("READY=1\nSTATUS={refused}"));
    // Taken back: what the file says is what is in force.
    house.configure(&good);
    assert_eq!(manager.told().await, "STATUS=serving");
}

#[tokio::test]
async fn a_watching_manager_is_told_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::in_the_open(folder.path());
    let environment = manager.environment(&[("WATCHDOG_USEC", "30000000")]);
    let house = House::within(folder, Plan { environment, ..Plan::default() }).await;
    let mut signs = 0;
    while signs < 3 {
        let told = manager.told().await;
        assert!(["WATCHDOG=1", "READY=1\nSTATUS=serving"].contains(&told.as_str()), "{told}");
        signs += usize::from(told == "WATCHDOG=1");
    }
    house.process.signal(Signal::TERM);
    assert_eq!(house.process.ended().await.code(), Some(0));
}
