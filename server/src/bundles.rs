//! Bundles: what gateways need to serve a campaign without the server.

use std::sync::Arc;

use bellwether_decide::device::Endpoint;

use crate::clock;
use crate::core::Core;

impl Core {
    /// A gateway is here that was away: it may have missed anchors, and campaigns go on with its devices.
    pub(crate) fn welcome_gateway(self: &Arc<Self>, gateway: Endpoint) {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(presence) = core.gateways.present(&gateway, clock::now()) {
                core.bring_gateway_up_to_date(&gateway, &presence).await;
            }
            core.wake.notify_one();
        });
    }
}
