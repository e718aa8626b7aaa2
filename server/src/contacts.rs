//! When devices were heard, carried from memory to the store in batches: registrations themselves are not kept.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;

/// Writes what was heard since the last look, until the server ends.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        tokio::time::sleep(EVERY).await;
        core.keep_contacts().await;
    }
}

impl Core {
    /// Writes what was heard since the last look; what can't be written waits for the next.
    pub(crate) async fn keep_contacts(&self) {
        let heard = self.registry.take_heard();
        if heard.is_empty() {
            return;
        }
        if let Err(error) = self.store.put_contacts(&self.tenant, &heard).await {
            self.health.doubt();
            self.registry.give_back(heard);
            if let Some(count) = self.quiet.failed.pass(self.now()) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    count,
                    "when devices were heard can't be written; told at most once a minute"
                );
            }
        }
    }
}

/// One commit for all that were heard in this time; a crash forgets no more than it.
const EVERY: Duration = Duration::from_secs(10);
