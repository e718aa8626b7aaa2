//! Requests to devices. None goes out to a device in queue mode that sleeps: it would be lost, and sent again in vain.

use std::time::Duration;

use bellwether_decide::queue_mode::Listening;
use bellwether_net::RequestError;
use bellwether_net::coap::{Failure, Request, Response};
use thiserror::Error;

use crate::core::Core;
use crate::registry::Registration;

/// Why a device gave no response.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// It is in queue mode and asleep, or fell asleep before it had answered.
    #[error("the device sleeps")]
    Asleep,
    /// The request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Core {
    /// Sends a request to a registered device and waits for its response. Of a device in queue mode, it is given up once the
    /// device is taken for asleep.
    pub(crate) async fn ask(
        &self,
        registration: &Registration,
        request: Request,
    ) -> Result<Response, AskError> {
        let answer = registration.shard.request(registration.session, request);
        tokio::pin!(answer);
        let mut unsent = WITHHELD;
        let answered = loop {
            // Whatever came of it meanwhile, such as blocks of what it has not read whole, has kept it awake.
            let left_s = match self.listening_now(registration) {
                Listening::Always => break answer.await,
                Listening::Asleep { .. } => {
                    self.metrics.slept(unsent);
                    return Err(AskError::Asleep);
                }
                Listening::Awake { left_s } => left_s,
            };
            unsent = GIVEN_UP;
            tokio::select! {
                biased;
                answered = &mut answer => break answered,
                () = tokio::time::sleep(Duration::from_secs(left_s)) => {}
            }
        };
        self.note_answered(registration, answered)
    }

    fn note_answered(
        &self,
        registration: &Registration,
        answered: Result<Response, RequestError>,
    ) -> Result<Response, AskError> {
        let (endpoint, session) = (&registration.endpoint, registration.session);
        match answered {
            Ok(response) => {
                self.registry.awake(endpoint, self.steady());
                Ok(response)
            }
            Err(RequestError::Failed(Failure::TimedOut))
                if self.registry.missed(endpoint, session, self.steady()) =>
            {
                tracing::info!(device = %endpoint, "did not acknowledge: it sleeps");
                self.metrics.slept(MISSED);
                Err(AskError::Asleep)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells whether a device listens now, by what is registered of it now; by what was, where that has ended.
    fn listening_now(&self, registration: &Registration) -> Listening {
        let now = self.steady();
        let listening = self.registry.listening(&registration.endpoint, now);
        listening.unwrap_or_else(|| registration.listening(self.config.queue_mode_awake_s, now))
    }
}

/// Not sent.
const WITHHELD: &str = "withheld";

/// Sent, and not sent again.
const GIVEN_UP: &str = "given_up";

/// Sent, again and again, and not acknowledged.
const MISSED: &str = "missed";
