//! The `oauth2` crate as a caller.

use std::error::Error;

// docs: begin
use oauth2::basic::BasicClient;
use oauth2::reqwest::{blocking, redirect::Policy, Certificate};
use oauth2::{ClientId, ClientSecret, TokenResponse, TokenUrl};

fn token() -> Result<impl TokenResponse, Box<dyn Error>> {
    // A private certificate authority; the crate's own list knows the public ones only.
    let ca = Certificate::from_pem(&std::fs::read(std::env::var("SSL_CERT_FILE")?)?)?;
    let http = blocking::Client::builder().add_root_certificate(ca).redirect(Policy::none()).build()?;
    let client = BasicClient::new(ClientId::new(std::env::var("AQUILA_CALLER")?))
        .set_client_secret(ClientSecret::new(std::env::var("AQUILA_KEY")?))
        .set_token_uri(TokenUrl::new(std::env::var("AQUILA_URL")? + "/token")?);
    Ok(client.exchange_client_credentials().request(&http)?)
}
// docs: end

fn main() -> Result<(), Box<dyn Error>> {
    let token = token()?;
    let seconds_left = token.expires_in().ok_or("the client saw no expires_in")?.as_secs();
    println!(r#"{{"access_token":"{}","seconds_left":{seconds_left}}}"#, token.access_token().secret());
    Ok(())
}
