//! External-media legs: channels of Asterisk that carry a caller's audio to us and ours back.

use super::channels::Variables;
use super::{Ari, AriError, Channel, ChannelId, HangupReason};
use crate::wire::media_websocket::Format;
use reqwest::Url;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use uuid::Uuid;

/// An external-media leg to make.
///
/// Register the channel's id before the request: the leg's `StasisStart` can come before the answer. The leg never ends by
/// itself when the caller leaves.
#[derive(Clone, Debug)]
pub struct ExternalMedia {
    /// Id of the channel.
    pub channel: ChannelId,
    /// What Asterisk calls its format: `ulaw`, `slin16`, …
    pub format: &'static str,
    /// Variables that it starts with; give it a dead-man timer ([`super::absolute_timeout`]).
    pub variables: Variables,
}

/// The parameters of `POST /channels/externalMedia` besides those of [`ExternalMedia`].
#[derive(Serialize)]
struct Connection<'a> {
    encapsulation: &'static str,
    transport: &'static str,
    connection_type: &'static str,
    external_host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport_data: Option<&'static str>,
}

impl Ari {
    /// A leg over RTP that sends to `remote`, our socket as Asterisk reaches it. Gives the address from which Asterisk sends,
    /// and at which it receives.
    ///
    /// # Errors
    /// [`AriError::Failed`] covers everything that Asterisk does not like about a leg: an id that is in use, a format for
    /// which it has no codec, a host name.
    pub async fn rtp_leg(&self, media: &ExternalMedia, remote: SocketAddr) -> Result<SocketAddr, AriError> {
        let remote = remote.to_string();
        let connection = Connection {
            encapsulation: "rtp",
            transport: "udp",
            connection_type: "client",
            external_host: &remote,
            data: None,
            transport_data: None,
        };
        let channel = self.external_media(media, &connection).await?;
        self.of_use(&channel, local_address(&channel)).await
    }

    /// A leg over AudioSocket. Asterisk connects to `remote`, our listener as Asterisk reaches it, and says `uuid` there,
    /// all before it answers.
    ///
    /// # Errors
    /// As [`Self::rtp_leg`]; [`AriError::Failed`] also when Asterisk cannot connect within 2 s.
    pub async fn audiosocket_leg(&self, media: &ExternalMedia, remote: SocketAddr, uuid: Uuid) -> Result<(), AriError> {
        let (remote, uuid) = (remote.to_string(), uuid.hyphenated().to_string());
        let connection = Connection {
            encapsulation: "audiosocket",
            transport: "tcp",
            connection_type: "client",
            external_host: &remote,
            data: Some(&uuid),
            transport_data: None,
        };
        self.external_media(media, &connection).await.map(drop)
    }

    /// A leg over WebSocket to which we connect. Gives the URL to connect to within 30 s, which is a secret; only then comes
    /// its `StasisStart`.
    ///
    /// # Errors
    /// As [`Self::rtp_leg`].
    pub async fn websocket_leg(&self, media: &ExternalMedia, control: Format) -> Result<Url, AriError> {
        let connection = Connection {
            encapsulation: "none",
            transport: "websocket",
            connection_type: "server",
            external_host: "",
            data: None,
            transport_data: dial_options(control),
        };
        let channel = self.external_media(media, &connection).await?;
        let id = self.of_use(&channel, connection_id(&channel)).await?;
        Ok(self.settings.url.media(&id))
    }

    /// A leg over WebSocket for which Asterisk connects to us, as the section `client` of its `websocket_client.conf` says,
    /// and names the channel's id in its first message.
    ///
    /// # Errors
    /// As [`Self::rtp_leg`]; 400 ([`AriError::BadRequest`]) when there is no such section.
    pub async fn websocket_client_leg(
        &self,
        media: &ExternalMedia,
        client: &str,
        control: Format,
    ) -> Result<(), AriError> {
        let connection = Connection {
            encapsulation: "none",
            transport: "websocket",
            connection_type: "client",
            external_host: client,
            data: None,
            transport_data: dial_options(control),
        };
        self.external_media(media, &connection).await.map(drop)
    }

    async fn external_media(&self, media: &ExternalMedia, connection: &Connection<'_>) -> Result<Channel, AriError> {
        #[derive(Serialize)]
        struct Parameters<'a> {
            app: &'a str,
            #[serde(rename = "channelId")]
            channel: &'a str,
            format: &'static str,
            variables: &'a Variables,
            #[serde(flatten)]
            connection: &'a Connection<'a>,
        }
        let parameters = Parameters {
            app: self.settings.app.as_str(),
            channel: media.channel.as_str(),
            format: media.format,
            variables: &media.variables,
            connection,
        };
        self.create(&["channels", "externalMedia"], &parameters).await
    }

    /// What was read from a leg's variables; without it the leg is of no use, and nobody else would end it.
    async fn of_use<T>(&self, channel: &Channel, found: Result<T, String>) -> Result<T, AriError> {
        match found {
            Ok(found) => Ok(found),
            Err(cause) => {
                // Its own failure says the least.
                let _ = self.hang_up(&channel.id, HangupReason::Failure).await;
                Err(AriError::BadResponse { request: "POST channels/externalMedia".to_owned(), cause })
            }
        }
    }
}

/// The dial options that ask for a form of control messages. Plain text is what Asterisk does unless told otherwise; that
/// cannot be told over ARI before 20.18 and 22.8.
const fn dial_options(control: Format) -> Option<&'static str> {
    match control {
        Format::PlainText => None,
        Format::Json => Some("f(json)"),
    }
}

fn variable<'a>(channel: &'a Channel, name: &str) -> Result<&'a str, String> {
    channel.channelvars.get(name).map(String::as_str).ok_or_else(|| format!("{name} is missing"))
}

/// Where `chan_rtp` says that it sends from.
fn local_address(channel: &Channel) -> Result<SocketAddr, String> {
    let (address, port) = (variable(channel, "UNICASTRTP_LOCAL_ADDRESS")?, variable(channel, "UNICASTRTP_LOCAL_PORT")?);
    let address: IpAddr = address.parse().map_err(|_| format!("UNICASTRTP_LOCAL_ADDRESS is `{address}`"))?;
    match port.parse() {
        Ok(port) if port != 0 => Ok(SocketAddr::new(address, port)),
        _ => Err(format!("UNICASTRTP_LOCAL_PORT is `{port}`")),
    }
}

/// What `chan_websocket` wants to hear from whoever connects. It is not shown: whoever knows it can.
fn connection_id(channel: &Channel) -> Result<String, String> {
    match variable(channel, "MEDIA_WEBSOCKET_CONNECTION_ID")? {
        "" => Err("MEDIA_WEBSOCKET_CONNECTION_ID is empty".to_owned()),
        id => Ok(id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media_channel(variables: &str) -> Channel {
        let text = format!(r#"{{"id":"m","name":"UnicastRTP/m","state":"Down","channelvars":{variables}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_address_of_a_media_leg_is_read_from_its_variables() {
        let v4 = media_channel(r#"{"UNICASTRTP_LOCAL_PORT":"21952","UNICASTRTP_LOCAL_ADDRESS":"192.0.2.7"}"#);
        assert_eq!(local_address(&v4), Ok("192.0.2.7:21952".parse().unwrap()));
        let v6 = media_channel(r#"{"UNICASTRTP_LOCAL_PORT":"21952","UNICASTRTP_LOCAL_ADDRESS":"2001:db8::7"}"#);
        assert_eq!(local_address(&v6), Ok("[2001:db8::7]:21952".parse().unwrap()));
    }

    #[test]
    fn a_media_leg_without_a_usable_address_is_refused() {
        for variables in [
            "{}",
            r#"{"UNICASTRTP_LOCAL_ADDRESS":"192.0.2.7"}"#,
            r#"{"UNICASTRTP_LOCAL_PORT":"0","UNICASTRTP_LOCAL_ADDRESS":"192.0.2.7"}"#,
            r#"{"UNICASTRTP_LOCAL_PORT":"70000","UNICASTRTP_LOCAL_ADDRESS":"192.0.2.7"}"#,
            r#"{"UNICASTRTP_LOCAL_PORT":"21952","UNICASTRTP_LOCAL_ADDRESS":"pbx"}"#,
        ] {
            assert!(local_address(&media_channel(variables)).is_err(), "{variables}");
        }
    }
}
