//! What every command carries: its request id, who asks and why, which page is wanted.

use bellwether_api as api;
use bellwether_decide::campaign::event::By;
use bellwether_store::campaign::Command;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::caller;
use crate::core::Core;
use crate::refusal::Refusal;

/// Reads a command's JSON; a refusal names the field and what is wrong with it.
///
/// # Errors
///
/// [`Refusal::invalid`].
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => Refusal::invalid(error.inner().to_string()),
            field => Refusal::invalid(format!("{field}: {}", error.inner())),
        }
    })?;
    json.end().map_err(|error| Refusal::invalid(error.to_string()))?;
    Ok(value)
}

/// Checks a request id: it is a level of a topic, and a key.
pub(crate) fn check_request_id(id: &str) -> Result<(), Refusal> {
    let unfit = |c: char| c.is_control() || matches!(c, '/' | '+' | '#');
    if id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX || id.contains(unfit) {
        return Err(Refusal::invalid(format!(
            "request_id: must have 1 to {REQUEST_ID_BYTES_MAX} bytes, no control characters and none of / + #"
        )));
    }
    Ok(())
}

/// Takes who asks and why.
pub(crate) fn by(who: Option<&String>, why: Option<&String>) -> Result<By, Refusal> {
    bounded("who", who, WHO_BYTES_MAX)?;
    bounded("why", why, WHY_BYTES_MAX)?;
    Ok(caller::by(who, why))
}

fn bounded(field: &str, text: Option<&String>, bytes_max: usize) -> Result<(), Refusal> {
    match text {
        Some(text) if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) => {
            let text = format!("{field}: must have 1 to {bytes_max} bytes and no control characters");
            Err(Refusal::invalid(text))
        }
        _ => Ok(()),
    }
}

/// Takes the wished length of a page.
pub(super) fn limit(wished: Option<u32>) -> Result<u32, Refusal> {
    let limit = wished.unwrap_or(PAGE_ROWS);
    if (1..=PAGE_ROWS_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Refusal::invalid(format!("limit: must be 1 to {PAGE_ROWS_MAX}, not {limit}")))
}

/// Makes the record of a command: its body as it was understood, so that blanks and the order of fields do not count.
/// Verbs share the space of request ids; `verb` keeps a pause and a cancel of one id apart.
pub(super) fn command<T: Serialize>(
    at: u64,
    verb: &str,
    request_id: &str,
    asked: &T,
    reply: &impl Serialize,
) -> Result<Command, Refusal> {
    let body = body_digest(verb, asked)?;
    let reply = serde_json::to_vec(reply).map_err(Refusal::internal)?;
    Ok(Command { request_id: request_id.to_owned(), body, reply, at })
}

fn body_digest<T: Serialize>(verb: &str, asked: &T) -> Result<bellwether_store::Digest, Refusal> {
    let body = serde_json::to_vec(asked).map_err(Refusal::internal)?;
    let mut hash = Sha256::new();
    hash.update(verb);
    hash.update(&body);
    Ok(hash.finalize().into())
}

impl Core {
    /// Finds what was answered to this request before; a request id with another body is refused.
    pub(super) async fn answered<T: Serialize>(
        &self,
        verb: &str,
        request_id: &str,
        asked: &T,
    ) -> Result<Option<api::Campaign>, Refusal> {
        check_request_id(request_id)?;
        let known = self.store.command(&self.tenant, request_id).await.map_err(Refusal::internal)?;
        match known {
            None => Ok(None),
            Some(known) if known.body == body_digest(verb, asked)? => {
                self.repeated(&known.reply).await.map(Some)
            }
            Some(_) => Err(other_body(request_id)),
        }
    }

    /// Tells whether this request was carried out before; a request id with another body is refused.
    pub(super) async fn carried_out<T: Serialize>(
        &self,
        verb: &str,
        request_id: &str,
        asked: &T,
    ) -> Result<Option<Command>, Refusal> {
        check_request_id(request_id)?;
        let known = self.store.command(&self.tenant, request_id).await.map_err(Refusal::internal)?;
        match known {
            Some(known) if known.body != body_digest(verb, asked)? => Err(other_body(request_id)),
            known => Ok(known),
        }
    }

    /// Gives a kept reply again. Before replies were kept whole, the campaign's number stood there.
    pub(super) async fn repeated(&self, reply: &[u8]) -> Result<api::Campaign, Refusal> {
        match serde_json::from_slice(reply) {
            Ok(campaign) => Ok(campaign),
            Err(_) => self.campaign(&String::from_utf8_lossy(reply)).await,
        }
    }
}

/// Says that a request id stands for something else.
pub(super) fn other_body(request_id: &str) -> Refusal {
    Refusal::conflict(format!("request_id: {request_id:?} was used for another request; choose a new one"))
}

/// As long as a label that people read; a UUID has 36.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// A name or an account.
const WHO_BYTES_MAX: usize = 128;

/// A sentence or two.
const WHY_BYTES_MAX: usize = 512;

/// Rows of a page that nobody asked to be longer or shorter: a screen or two.
const PAGE_ROWS: u32 = 100;

/// Rows of the longest page: about 300 kB of JSON.
const PAGE_ROWS_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_api::{LaunchCampaign, OrderCampaign};

    fn refused<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> String {
        read::<T>(body.as_bytes()).expect_err("refused").message
    }

    #[test]
    fn refusals_name_the_field() {
        let wrong_type = r#"{"request_id":"r","manifest":"00","policy":{"at_most":"three"}}"#;
        assert!(refused::<LaunchCampaign>(wrong_type).starts_with("policy.at_most: "));
        let unknown = r#"{"request_id":"r","campaign":"1","colour":"red"}"#;
        assert!(refused::<OrderCampaign>(unknown).contains("unknown field `colour`"));
        assert!(refused::<OrderCampaign>(r#"{"request_id":"r"}"#).contains("missing field `campaign`"));
        let twice = r#"{"request_id":"r","campaign":"1","campaign":"2"}"#;
        assert!(refused::<OrderCampaign>(twice).contains("duplicate field `campaign`"));
    }

    #[test]
    fn what_follows_the_json_is_refused() {
        assert!(refused::<OrderCampaign>(r#"{"request_id":"r","campaign":"1"} x"#).contains("trailing"));
    }

    #[test]
    fn request_id_that_is_no_level_of_a_topic_is_refused() {
        for id in ["", "a/b", "+", "#", "a\nb", &"x".repeat(65)] {
            assert!(check_request_id(id).is_err(), "{id:?}");
        }
        assert!(check_request_id("3f2a-Ü 1").is_ok());
    }

    #[test]
    fn same_body_under_another_verb_is_another_request() {
        let order = OrderCampaign { request_id: "r".into(), campaign: "1".into(), who: None, why: None };
        assert_ne!(
            body_digest("pause", &order).expect("a digest"),
            body_digest("cancel", &order).expect("a digest")
        );
    }

    // A request that comes again after an update of the server must still be known.
    #[test]
    fn launch_without_new_fields_has_the_digest_that_it_always_had() {
        let launch: LaunchCampaign = read(br#"{"request_id":"r","manifest":"00"}"#).expect("valid");
        let text = concat!(
            r#"{"request_id":"r","manifest":"00","targets":{"classes":[],"endpoints":[]},"#,
            r#""policy":{"at_most":null,"abort_failed_per_mille":null,"abort_sample_min":null}}"#
        );
        assert_eq!(body_digest("", &launch).expect("a digest"), <[u8; 32]>::from(Sha256::digest(text)));
    }
}
