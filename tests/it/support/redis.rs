//! A real Redis on a free port of loopback, in a process of its own: everything that replicas share is in it, and it can be
//! stopped, emptied, killed and started again.

use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::detour::Detour;
use super::until;
use crate::canary;
use crate::ports::free_port;

/// A running Redis; dropping it ends it.
pub(crate) struct Redis {
    port: u16,
    server: Option<Child>,
    folder: TempDir,
}

impl Redis {
    /// Starts one, empty.
    pub(crate) async fn start() -> Self {
        let mut redis = Self { port: free_port(), server: None, folder: tempfile::tempdir().unwrap() };
        redis.start_again().await;
        redis
    }

    /// Starts it where it was, with nothing in it.
    pub(crate) async fn start_again(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--dir", self.folder.path().to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        let mut server = started.unwrap_or_else(|error| {
            panic!(
                "redis-server cannot be started ({error}): install it, on Debian with `apt-get install redis-server`"
            )
        });
        until("Redis answers", async || {
            assert_eq!(server.try_wait().unwrap(), None, "redis-server has ended");
            self.ask(&["PING"]).trim() == "PONG"
        })
        .await;
        self.server = Some(server);
    }

    /// For `store.redis.url`.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The same from a long way off: what it answers comes later by so much.
    pub(crate) fn seen_from_afar(&self, longer: Duration) -> Detour {
        Detour::to(self.port, longer)
    }

    /// How many events replicas have told each other.
    pub(crate) fn events(&self) -> usize {
        self.ask(&["XLEN", "aquila:{events}"]).trim().parse().unwrap()
    }

    /// What it answers to a command.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string(), "--raw"]).args(command).output();
        let output = output.unwrap_or_else(|error| {
            panic!("redis-cli cannot be started ({error}): install it, on Debian with `apt-get install redis-tools`")
        });
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The names of everything in it that end so.
    pub(crate) fn names(&self, end: &str) -> Vec<String> {
        self.ask(&["KEYS", &format!("*{end}")]).lines().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// Forgets everything.
    pub(crate) fn flush(&self) {
        self.ask(&["FLUSHALL"]);
    }

    /// Takes the lease from whoever has it. Whether there was one.
    pub(crate) fn take_lease(&self) -> bool {
        self.names(":lease").iter().any(|name| self.ask(&["DEL", name]).trim() == "1")
    }

    /// Ends it, as a power cut does.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// It keeps its connections and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on where it stood.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Everything in it, as text.
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        for name in self.names("") {
            let kind = self.ask(&["TYPE", &name]);
            let content = match kind.trim() {
                "hash" => self.ask(&["HGETALL", &name]),
                "zset" => self.ask(&["ZRANGE", &name, "0", "-1", "WITHSCORES"]),
                "stream" => self.ask(&["XRANGE", &name, "-", "+"]),
                "string" => self.ask(&["GET", &name]),
                other => panic!("{name} is a {other}"),
            };
            writeln!(text, "{name} {content}").unwrap();
        }
        text
    }

    fn signal(&self, signal: Signal) {
        let id = self.server.as_ref().unwrap().id();
        kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let id = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
            // One that stands still is ended all the same.
            let _ = kill_process(id, Signal::KILL);
            let _ = server.wait();
        }
    }
}

/// Nobody who reads it learns anything that is of use.
pub(crate) fn search(redis: &Redis) -> usize {
    let dump = redis.dump();
    canary::search("a dump of Redis", &dump);
    dump.len()
}
