//! The load of the benchmark where wrk has none: one GET over and over, on kept connections over TLS, by whoever holds a
//! certificate or a key.
//!
//! Takes an address, a path, seconds, the door's authority, and then `--key TEXT` or `--certificate FILE KEYFILE`. Prints
//! requests per second and the 99th percentile in milliseconds. Any answer but 200 ends it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

const CONNECTIONS: usize = 32;
const USAGE: &str = "usage: tls_load ADDRESS PATH SECONDS CA (--key TEXT | --certificate FILE KEYFILE)";

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, seconds, authority, proof @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let (config, header) = match proof {
        [kind, key] if kind == "--key" => (builder.with_no_client_auth(), format!("Authorization: Bearer {key}\r\n")),
        [kind, chain, key] if kind == "--certificate" => {
            let chain = vec![CertificateDer::from_pem_file(chain)?];
            (builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?, String::new())
        }
        _ => return Err(USAGE.into()),
    };
    let request = Arc::new(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"));
    let connector = TlsConnector::from(Arc::new(config));
    let ends = Instant::now() + Duration::from_secs(seconds.parse()?);
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(ask(connector.clone(), address.clone(), Arc::clone(&request), ends));
    }
    let began = Instant::now();
    let mut times = Vec::new();
    while let Some(asked) = connections.join_next().await {
        times.extend(asked??);
    }
    times.sort_unstable();
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    let slow = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    #[expect(clippy::print_stdout, reason = "its one result")]
    {
        println!("{rate:.1} {:.3}", slow.as_secs_f64() * 1000.0);
    }
    Ok(())
}

/// One connection; how long each answer took.
async fn ask(
    connector: TlsConnector,
    address: String,
    request: Arc<String>,
    ends: Instant,
) -> Result<Vec<Duration>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
    let (mut times, mut answer) = (Vec::new(), Vec::with_capacity(4096));
    while Instant::now() < ends {
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !is_whole(&answer)? {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err("the service hung up".into());
            }
        }
        times.push(asked.elapsed());
    }
    Ok(times)
}

/// Whether head and body are there.
fn is_whole(answer: &[u8]) -> Result<bool, Failure> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(head.into());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("no content-length")?;
    Ok(answer.len() >= end + 4 + length.trim().parse::<usize>()?)
}
