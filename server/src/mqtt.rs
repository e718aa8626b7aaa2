//! Brings the broker up, where it is ours, and the rooms that speak with it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::config::{Mqtt, MqttBroker};
use crate::core::{Core, StartError};
use crate::ingress::mqtt::Broker;
use crate::{ingress, view};

/// What runs; all of it ends when this is dropped.
pub(crate) struct Running {
    /// Where the broker is, for others to find; never a password.
    pub(crate) address: String,
    tasks: [JoinHandle<()>; 2],
    #[cfg(feature = "broker")]
    embedded: Option<bellwether_broker::Broker>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        #[cfg(feature = "broker")]
        drop(self.embedded.take());
    }
}

/// Starts what was configured; `None` where it is off.
///
/// # Errors
///
/// [`StartError`] where the embedded broker can't have its address.
pub(crate) async fn start(core: &Arc<Core>) -> Result<Option<Running>, StartError> {
    match &core.config.mqtt {
        Mqtt::Off => Ok(None),
        Mqtt::Broker(at) => Ok(Some(speak(core, at.clone()))),
        #[cfg(feature = "broker")]
        Mqtt::Embedded { listen } => {
            let (embedded, at) = embedded::start(&*core.machine, &core.config.data, *listen).await?;
            let mut running = speak(core, at);
            running.embedded = Some(embedded);
            Ok(Some(running))
        }
        #[cfg(not(feature = "broker"))]
        Mqtt::Embedded { .. } => Ok(None),
    }
}

fn speak(core: &Arc<Core>, at: MqttBroker) -> Running {
    let address = at.to_string();
    let broker = Broker::new(at);
    core.metrics.watch_broker(Arc::clone(&broker));
    let commands = tokio::spawn(ingress::mqtt::run(Arc::clone(core), Arc::clone(&broker)));
    let events = tokio::spawn(view::run(Arc::clone(core), broker));
    Running {
        address,
        tasks: [commands, events],
        #[cfg(feature = "broker")]
        embedded: None,
    }
}

#[cfg(feature = "broker")]
mod embedded {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::path::Path;

    use bellwether_broker::{Broker, Login, StartError as BrokerError};
    use bellwether_net::Machine;
    use serde::{Deserialize, Serialize};
    use zeroize::{Zeroize, Zeroizing};

    use crate::config::{Carrier, MqttBroker, MqttVersion, Password};
    use crate::core::StartError;
    use crate::secret_file;
    use crate::vault::VaultError;

    /// `DATA/mqtt.json`: all that a client on this machine needs.
    #[derive(Deserialize, Serialize)]
    struct Credentials {
        host: String,
        port: u16,
        user: String,
        password: String,
    }

    impl Drop for Credentials {
        fn drop(&mut self) {
            self.password.zeroize();
        }
    }

    pub(super) async fn start(
        machine: &dyn Machine,
        data: &Path,
        listen: Option<SocketAddr>,
    ) -> Result<(Broker, MqttBroker), StartError> {
        let path = data.join("mqtt.json");
        let (user, password) = (USER.to_owned(), password(machine, &path)?);
        let login = Login { user: user.clone(), password: password.to_string() };
        let broker = listening(listen, login).await?;
        let (host, port) = (broker.address().ip().to_string(), broker.address().port());
        let credentials =
            Credentials { host: host.clone(), port, user: user.clone(), password: password.to_string() };
        let text = Zeroizing::new(
            serde_json::to_string(&credentials).map_err(|error| StartError::Folder(error.into()))?,
        );
        secret_file::write(&path, &text)?;
        tracing::info!(mqtt = %broker.address(), login = %path.display(), "the embedded broker listens");
        let password = Password::new(password.to_string());
        let (version, carrier, tls) = (MqttVersion::V5, Carrier::Tcp, None);
        Ok((broker, MqttBroker { host, port, user: Some(user), password, version, carrier, tls }))
    }

    /// The usual port is a wish, an address that was asked for is not.
    async fn listening(listen: Option<SocketAddr>, login: Login) -> Result<Broker, StartError> {
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT));
        match Broker::start(listen.unwrap_or(usual), login.clone()).await {
            Err(BrokerError::Bind { .. }) if listen.is_none() => {
                tracing::warn!(
                    taken = %usual,
                    "another process listens there; the embedded broker takes a free port (see mqtt.json). Name an \
                     address with --mqtt-listen, or your own broker with --mqtt"
                );
                let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                Broker::start(any, login).await.map_err(refused)
            }
            started => started.map_err(refused),
        }
    }

    fn refused(error: BrokerError) -> StartError {
        match error {
            BrokerError::Bind { address, source } => StartError::Bind { address, source },
            other => StartError::Broker(other.to_string()),
        }
    }

    /// Reads the password of the starts before, or draws one.
    fn password(machine: &dyn Machine, path: &Path) -> Result<Zeroizing<String>, StartError> {
        let kept = secret_file::read(path)?.and_then(|text| serde_json::from_str::<Credentials>(&text).ok());
        if let Some(kept) = kept {
            return Ok(Zeroizing::new(kept.password.clone()));
        }
        let drawn = Zeroizing::new(machine.random::<24>().map_err(VaultError::from)?);
        Ok(Zeroizing::new(hex::encode(drawn.as_ref())))
    }

    const USER: &str = "bellwether";

    /// IANA's for MQTT.
    const USUAL_PORT: u16 = 1883;
}
