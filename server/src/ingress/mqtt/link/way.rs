//! The way to a broker as the library has it, and why it can't be gone, with what to do about it.

use std::error::Error;
use std::io;

use rumqttc::{TlsConfiguration, Transport};
use rustls::CertificateError;

use crate::config::{Carrier, MqttBroker, TlsError};

/// Gives the transport, and what the library wants as the address for it.
///
/// # Errors
///
/// [`TlsError`] where a file of certificates can't be used (any more).
pub(super) fn transport(broker: &MqttBroker) -> Result<(Transport, String), TlsError> {
    let tls = broker.tls.as_ref().map(crate::config::Tls::client).transpose()?;
    let transport = match (&broker.carrier, tls.map(TlsConfiguration::Rustls)) {
        (Carrier::Tcp, None) => Transport::Tcp,
        (Carrier::Tcp, Some(tls)) => Transport::Tls(tls),
        (Carrier::WebSocket { .. }, None) => Transport::Ws,
        (Carrier::WebSocket { .. }, Some(tls)) => Transport::Wss(tls),
    };
    let address = match broker.carrier {
        Carrier::Tcp => broker.host.clone(),
        Carrier::WebSocket { .. } => broker.to_string(),
    };
    Ok((transport, address))
}

/// Says why a connection failed, and what may help.
pub(super) fn why(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let said = SAID.iter().find(|(words, _)| words.iter().any(|word| text.contains(word)));
    let advice = said.map(|(_, advice)| *advice).or_else(|| tls_fault(error).and_then(advice));
    advice.map_or_else(|| text.clone(), |advice| format!("{text}: {advice}"))
}

/// Finds what TLS says among the causes; an I/O error wraps it without naming it as its source.
fn tls_fault<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let wrapped = wrapped.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(fault) = wrapped.or_else(|| cause.downcast_ref::<rustls::Error>()) {
            return Some(fault);
        }
        next = cause.source();
    }
    None
}

fn advice(fault: &rustls::Error) -> Option<&'static str> {
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    Some(match fault {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate comes from no authority that this server believes; name the authority with --mqtt-ca-file"
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for other names than the one in the URL",
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has ended, or this machine's clock is wrong"
        }
        InvalidMessage(_) => "what listens there does not speak TLS; is it the port of mqtt:// or ws://?",
        _ => return None,
    })
}

/// What the broker says, by the words that the library makes of it: once a connection stands, it keeps nothing else.
const SAID: [(&[&str], &str); 3] = [
    (
        &["BadUserNamePassword", "NotAuthorized"],
        "the user of the URL or its password (--mqtt-password-file) is wrong, or the broker does not let it in",
    ),
    (
        &["alert: CertificateRequired"],
        "it wants a certificate of the server: --mqtt-cert-file and --mqtt-key-file",
    ),
    (
        &[
            "alert: BadCertificate",
            "alert: CertificateExpired",
            "alert: CertificateRevoked",
            "alert: CertificateUnknown",
            "alert: UnknownCA",
            "alert: AccessDenied",
        ],
        "it does not believe the certificate of --mqtt-cert-file; see the broker's log",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_of_tls_is_found_within_an_error_of_io() {
        let fault = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = rumqttc::ConnectionError::Io(io::Error::new(io::ErrorKind::InvalidData, fault));
        assert!(why(&error).ends_with("--mqtt-ca-file"), "{}", why(&error));
    }

    #[test]
    fn wrong_password_is_said_with_where_it_stands() {
        let refused = rumqttc::ConnectReturnCode::BadUserNamePassword;
        let error = rumqttc::ConnectionError::ConnectionRefused(refused);
        assert!(why(&error).contains("--mqtt-password-file"));
    }

    #[test]
    fn what_nobody_knows_advice_for_is_said_as_it_is() {
        let error = rumqttc::ConnectionError::Io(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(why(&error), error.to_string());
    }
}
