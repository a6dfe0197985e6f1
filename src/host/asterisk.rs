//! From an Asterisk as configured to the settings of its client.

use crate::ari::{AriSettings, BaseUrl, BaseUrlError};
use crate::config::Asterisk;

/// The settings of the ARI client for a configured Asterisk.
///
/// # Errors
/// When its address has a part that the address of an ARI cannot have.
pub fn ari_settings(asterisk: &Asterisk) -> Result<AriSettings, BaseUrlError> {
    let url = BaseUrl::parse(asterisk.url.as_str())?;
    let (username, password) = (asterisk.username.clone(), asterisk.password.clone());
    let settings = AriSettings::new(asterisk.name.as_str(), url, username, password, asterisk.app.clone());
    Ok(AriSettings { ca_file: asterisk.ca_file.clone(), ..settings })
}
