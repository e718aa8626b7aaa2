//! The statements of writers that share commits, in a loop that somebody else has gathered: what sharing is measured beside.

use async_trait::async_trait;
use bellwether_decide::device::Endpoint;

use super::failed::backend;
use super::{SqlStore, identity};
use crate::conformance::Bare;
use crate::device::Transition;
use crate::error::UpdateError;
use crate::tenant::Tenant;

#[async_trait]
impl Bare for SqlStore {
    async fn transitions_in_one_commit(
        &self,
        tenant: &Tenant,
        transitions: &[(Endpoint, Transition<'_>)],
    ) -> Result<(), UpdateError> {
        let mut tx = self.begin().await?;
        for (id, transition) in transitions {
            identity::step(&mut tx, tenant, id, *transition, identity::written(transition.state)?).await?;
        }
        Ok(tx.commit().await.map_err(backend)?)
    }
}
