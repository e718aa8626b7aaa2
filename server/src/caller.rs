//! Who asks: the request that is at work, as its door knows it, and who says to have sent it.
//!
//! A door opens a scope around each request. What is written into the ledger inside it has the request's id, and every
//! line that is logged inside it carries it too, so that a line in one leads to the lines of the other.

use bellwether_decide::campaign::event::By;
use bellwether_net::Machine;
use tokio::task::JoinError;
use tracing::{Instrument, Span};

tokio::task_local! {
    static CALLER: Caller;
}

/// The request at work.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Caller {
    /// Its id: the caller's own, where it gave a fit one, else a drawn one.
    pub request_id: String,
    /// Who, as the caller says.
    pub who: Option<String>,
    /// Why, as the caller says.
    pub why: Option<String>,
}

impl Caller {
    /// Carries something out as part of this request, inside its span.
    pub(crate) async fn scope<T>(self, span: Span, work: impl Future<Output = T>) -> T {
        CALLER.scope(self, work).instrument(span).await
    }
}

/// Completes who gave an order, and why, by what the request at work says; its id always is that request's.
#[must_use]
pub(crate) fn by(who: Option<&String>, why: Option<&String>) -> By {
    let caller = CALLER.try_with(Clone::clone).unwrap_or_default();
    By {
        who: who.cloned().or(caller.who),
        why: why.cloned().or(caller.why),
        request: Some(caller.request_id).filter(|id| !id.is_empty()),
    }
}

/// Carries work to its end as part of the request at work, also where whoever waits for it goes away in the middle.
///
/// # Errors
///
/// [`JoinError`] where it panicked, or the server ends.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let caller = CALLER.try_with(Clone::clone).unwrap_or_default();
    tokio::spawn(CALLER.scope(caller, work).in_current_span()).await
}

/// The id of the request at work; `None` outside of any.
#[must_use]
pub(crate) fn request_id() -> Option<String> {
    CALLER.try_with(|caller| caller.request_id.clone()).ok().filter(|id| !id.is_empty())
}

/// Draws an id for a request that brought none: 16 digits. It tells requests apart and protects nothing.
#[must_use]
pub(crate) fn drawn(machine: &dyn Machine) -> String {
    machine.random::<8>().map_or_else(|_| "none".to_owned(), hex::encode)
}

/// Tells whether an id that a caller made up may stand in logs, headers and the ledger.
#[must_use]
pub(crate) fn is_fit(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(fits)
}

/// As long as the request ids of commands; a UUID has 36.
const REQUEST_ID_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_that_could_forge_a_line_or_a_header_is_unfit() {
        for id in ["a\nb", "a b", "\u{1b}[31m", "é", "a\"b", "", &"x".repeat(65)] {
            assert!(!is_fit(id), "{id:?}");
        }
        assert!(is_fit("3f2a-77_b.c:1"));
    }

    #[tokio::test]
    async fn work_goes_on_as_part_of_its_request_though_nobody_waits_for_it() {
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = tokio::sync::oneshot::channel();
        let work = async move {
            begun.send(()).expect("heard");
            may_go_on.await.expect("told");
            tell.send(request_id()).expect("heard");
        };
        let caller = Caller { request_id: "r-1".to_owned(), ..Caller::default() };
        let waits = tokio::spawn(caller.scope(Span::none(), to_the_end(work)));
        has_begun.await.expect("begun");
        waits.abort();
        assert!(waits.await.is_err_and(|error| error.is_cancelled()));
        go_on.send(()).expect("heard");
        assert_eq!(told.await.expect("told").as_deref(), Some("r-1"));
    }

    #[tokio::test]
    async fn order_has_the_id_of_its_request_and_its_own_words_before_the_callers() {
        let caller = Caller {
            request_id: "r-1".to_owned(),
            who: Some("kim".to_owned()),
            why: Some("storm".to_owned()),
        };
        let (said, own) =
            caller.scope(Span::none(), async { (by(None, None), by(Some(&"lee".to_owned()), None)) }).await;
        assert_eq!(said.who.as_deref(), Some("kim"));
        assert_eq!((own.who.as_deref(), own.why.as_deref()), (Some("lee"), Some("storm")));
        assert_eq!(own.request.as_deref(), Some("r-1"));
        assert_eq!(by(None, None), By::default());
    }
}
