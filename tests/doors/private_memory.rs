//! The memory of the service: no core dump of it, and no look into it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::house::addresses;
use crate::support::process::{Process, aquila};
use crate::support::wire::get;

/// Run as a user who is nobody's, so that what only root may look at can be told.
#[tokio::test]
async fn nobody_can_have_the_memory_of_the_service_dumped_or_look_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aquila.toml");
    fs::write(&config, "[server]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = aquila([Path::new("serve"), Path::new("--config"), &config]);
    if is_root {
        let binary = folder.path().join("aquila");
        fs::copy(env!("CARGO_BIN_EXE_aquila"), &binary).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
        command.args(["serve", "--config"]).arg(&config).stdin(Stdio::null());
    }
    let mut process = Process::searched(&mut command);
    let (_, ops) = addresses(&mut process).await;
    let of = |name: &str| PathBuf::from(format!("/proc/{}/{name}", process.id()));
    let limits = fs::read_to_string(of("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // What is private to a process belongs to root once the process may not be dumped, whoever runs it.
    let status = fs::read_to_string(of("status")).unwrap();
    let runs_as = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap().split_whitespace().next().unwrap();
    assert_ne!(runs_as, "0", "{status}");
    for private in ["mem", "environ", "maps"] {
        assert_eq!(fs::metadata(of(private)).unwrap().uid(), 0, "{private}");
        assert!(is_root || fs::read(of(private)).is_err(), "{private}");
    }
    // The process itself may look, for its own metrics.
    let metrics = get("/metrics").send(ops).await.text();
    for own in ["process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_threads"] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(own)?.strip_prefix(' '));
        assert!(value.is_some_and(|value| value.parse::<f64>().unwrap() > 0.0), "{own}: {metrics}");
    }
}
