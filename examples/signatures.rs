//! A baseline of the benchmark: RS256 signatures a second by the crypto library alone, on one thread.
//!
//! Takes a PEM file with a PKCS#8 key and the seconds to run; prints signatures per second.

use std::error::Error;
use std::time::Duration;

use aquila::clock::Clock;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: signatures KEY.pem SECONDS";
    let mut arguments = std::env::args().skip(1);
    let der = PrivatePkcs8KeyDer::from_pem_file(arguments.next().ok_or(usage)?)?;
    let span = Duration::from_secs(arguments.next().ok_or(usage)?.parse()?);
    let key = KeyPair::from_pkcs8(der.secret_pkcs8_der())?;
    let (random, clock) = (SystemRandom::new(), Clock::system());
    let mut signature = vec![0; key.public_modulus_len()];
    let message = [b'x'; 300];
    let (started, mut made) = (clock.now(), 0_u32);
    while clock.now().since(started) < span {
        key.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)?;
        made += 1;
    }
    let rate = f64::from(made) / clock.now().since(started).as_secs_f64();
    #[expect(clippy::print_stdout, reason = "its one result")]
    {
        println!("{rate:.0}");
    }
    Ok(())
}
