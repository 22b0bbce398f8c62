//! What the service manager that started the process is told: ready, reloading, stopping, alive.
//!
//! The protocol is that of `sd_notify(3)`: one datagram for each message, to the socket that `NOTIFY_SOCKET` names. Without
//! that variable nobody is told. Nothing depends on whether anybody listens, and nobody waits for it: what a manager that
//! does not read has no room for is told with a later sign of life, any other message that cannot be sent is forgotten, and
//! the first of several is logged. Sockets that are handed over (`LISTEN_FDS`) are not taken: to make one of a number is
//! unsafe.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The service manager, if one listens.
#[derive(Debug, Clone, Default)]
pub struct Supervisor(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    /// Never waits: whoever tells something is on a thread that answers callers.
    socket: UnixDatagram,
    address: SocketAddr,
    /// It restarts a process that does not say that it is alive.
    watches: bool,
    /// The last message could not be sent.
    failing: AtomicBool,
    /// What the manager had no room for, the oldest first. Signs of life are not kept: the next one says the same.
    untold: Mutex<VecDeque<String>>,
}

/// So many messages wait for room at the most; of more the oldest are forgotten.
const MOST_UNTOLD: usize = 8;

impl Supervisor {
    /// The one that the environment names.
    pub fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let watches =
            watches(std::env::var_os("WATCHDOG_USEC").as_deref(), std::env::var_os("WATCHDOG_PID").as_deref());
        Self::at(&name, watches).unwrap_or_else(|error| {
            let remedy = "let whoever sets NOTIFY_SOCKET name a socket by path, or by `@` and an abstract name";
            tracing::warn!(%error, remedy, "the service manager is told nothing");
            Self::default()
        })
    }

    /// The one that listens on a socket of this name: a path, or `@` and a name in the abstract space.
    ///
    /// # Errors
    /// This is no name of a socket, or there can be none.
    fn at(name: &OsStr, watches: bool) -> io::Result<Self> {
        let address = address(name)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let (failing, untold) = (AtomicBool::new(false), Mutex::default());
        Ok(Self(Some(Arc::new(Line { socket, address, watches, failing, untold }))))
    }

    /// Both doors are open, or a reload has come to its end. What stands in `status` is for people.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload begins, at this moment of the monotonic clock ([`crate::clock::Clock::monotonic`]).
    pub fn reloading(&self, at: Duration) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the configuration again", at.as_micros()));
    }

    /// What it is doing, for people.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={status}"));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is in progress");
    }

    /// What has to be done every second has been done.
    pub fn alive(&self) {
        let Some(line) = &self.0 else { return };
        // In order: what waits comes first, and as long as it does there is no room for this either.
        if line.catch_up() && line.watches {
            line.send("WATCHDOG=1");
        }
    }

    fn tell(&self, message: &str) {
        let Some(line) = &self.0 else { return };
        line.keep(message);
        line.catch_up();
    }
}

impl Line {
    fn keep(&self, message: &str) {
        let mut untold = self.untold();
        untold.push_back(message.to_owned());
        if untold.len() > MOST_UNTOLD {
            untold.pop_front();
        }
    }

    /// Sends what waits. Whether there was room for all of it.
    fn catch_up(&self) -> bool {
        let mut untold = self.untold();
        while let Some(message) = untold.front() {
            if !self.send(message) {
                return false;
            }
            untold.pop_front();
        }
        true
    }

    /// Whether there was room for it. Where nobody listens there is.
    fn send(&self, message: &str) -> bool {
        let sent = self.socket.send_to_addr(message.as_bytes(), &self.address);
        let has_room = !matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        // Once, and not with each sign of life.
        let was_failing = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match (sent, was_failing) {
            (Err(error), false) => tracing::warn!(
                %error,
                notification = message,
                "the service manager cannot be told anything, until this is told to be over"
            ),
            (Ok(_), true) => tracing::info!("the service manager is told again"),
            _ => {}
        }
        has_room
    }

    fn untold(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', abstract_name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(abstract_name)
        }
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "NOTIFY_SOCKET names no socket that is known here")),
    }
}

/// Whether the process with this number of ours is the one that is watched. Without a number it is any.
fn watches(period: Option<&OsStr>, process: Option<&OsStr>) -> bool {
    let own = std::process::id().to_string();
    period.is_some() && process.is_none_or(|process| process == own.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_told_as_one_with_a_path_is() {
        use std::os::linux::net::SocketAddrExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let own = folder.path().to_str().unwrap();
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(own).unwrap()).unwrap();
        let open = UnixDatagram::bind(&path).unwrap();
        for (socket, name) in [(&hidden, format!("@{own}")), (&open, path.to_str().unwrap().to_owned())] {
            let supervisor = Supervisor::at(OsStr::new(&name), true).unwrap();
            supervisor.ready("serving");
            supervisor.alive();
            assert_eq!(told(socket), "READY=1\nSTATUS=serving");
            assert_eq!(told(socket), "WATCHDOG=1");
        }
    }

    #[test]
    fn a_reload_tells_microseconds() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let supervisor = Supervisor::at(folder.path().join("notify").as_os_str(), false).unwrap();
        supervisor.reloading(Duration::from_nanos(1_234_567_891));
        assert_eq!(told(&socket), "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reading the configuration again");
        // Who does not watch is not told every second.
        supervisor.alive();
        supervisor.stopping();
        assert_eq!(told(&socket), "STOPPING=1\nSTATUS=finishing what is in progress");
    }

    #[test]
    fn what_is_no_socket_is_refused_and_one_where_nobody_listens_harms_nobody() {
        for name in ["", "notify", "vsock:2:1234", &format!("/{}", "long".repeat(100))] {
            assert!(Supervisor::at(OsStr::new(name), false).is_err(), "{name}");
        }
        Supervisor::at(OsStr::new("/nowhere/at.all"), true).unwrap().alive();
        Supervisor::default().ready("serving");
    }

    #[test]
    fn a_manager_that_is_away_is_logged_once_each_time_and_no_line_has_two_messages() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let supervisor = Supervisor::at(path.as_os_str(), true).unwrap();
        let log = folder.path().join("log");
        let file = Arc::new(std::fs::File::create(&log).unwrap());
        let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(file).finish();
        tracing::subscriber::with_default(lines, || {
            for _ in 0..2 {
                (0..3).for_each(|_| supervisor.alive());
                let manager = UnixDatagram::bind(&path).unwrap();
                (0..3).for_each(|_| supervisor.alive());
                drop(manager);
                std::fs::remove_file(&path).unwrap();
            }
        });
        let text = std::fs::read_to_string(log).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        for (line, level) in lines.iter().zip(["WARN", "INFO", "WARN", "INFO"]) {
            assert!(line.contains(level) && line.matches("\"message\":").count() == 1, "{line}");
        }
    }

    /// A manager that does not read, whose queue is full of signs of life.
    fn frozen(folder: &std::path::Path) -> (UnixDatagram, Supervisor) {
        let path = folder.join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::at(path.as_os_str(), true).unwrap();
        while !supervisor.0.as_ref().unwrap().failing.load(Ordering::Relaxed) {
            supervisor.alive();
        }
        (manager, supervisor)
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let (_manager, supervisor) = frozen(folder.path());
        let began = tokio::time::Instant::now();
        (0..20).for_each(|_| supervisor.alive());
        supervisor.status("serving");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn what_a_manager_has_no_room_for_is_told_when_it_has_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (manager, supervisor) = frozen(folder.path());
        (0..100).for_each(|number| supervisor.status(&format!("{number}")));
        supervisor.reloading(Duration::from_secs(1));
        supervisor.ready("serving");
        manager.set_nonblocking(true).unwrap();
        let read = || {
            let mut buffer = [0; 4096];
            let length = manager.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        };
        assert!(std::iter::from_fn(read).all(|told| told == "WATCHDOG=1"));
        supervisor.alive();
        let told: Vec<_> = std::iter::from_fn(read).collect();
        let [first, .., reloading, ready, alive] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((first.as_str(), told.len()), ("STATUS=94", MOST_UNTOLD + 1), "the oldest were forgotten");
        assert!(reloading.starts_with("RELOADING=1\n"), "{reloading}");
        assert_eq!((ready.as_str(), alive.as_str()), ("READY=1\nSTATUS=serving", "WATCHDOG=1"));
    }

    #[test]
    fn only_the_process_that_is_meant_is_watched() {
        let own = std::process::id().to_string();
        for (period, process, expected) in [
            (None, None, false),
            (Some("30000000"), None, true),
            (Some("30000000"), Some(own.as_str()), true),
            (Some("30000000"), Some("1"), false),
            (None, Some(own.as_str()), false),
        ] {
            assert_eq!(watches(period.map(OsStr::new), process.map(OsStr::new)), expected, "{period:?} {process:?}");
        }
    }
}
