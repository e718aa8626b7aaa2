//! Idempotency keys of commands.

use bellwether_decide::campaign::CampaignId;

use super::sample::{NOW, add_fleet, campaign, command, other_tenant, tenant};
use crate::Store;
use crate::campaign::{Command, Launch, Launched};

/// A repetition is answered as the first time, and launches nothing.
pub async fn repeated_command_gets_its_first_reply(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let (first, second, command) = (campaign(1), campaign(2), command(1));
    let launch = |campaign, command| Launch { campaign, events: &[], command: Some(command) };
    let new = store.launch(&tenant(), launch(&first, &command)).await.unwrap();
    assert_eq!(new, Launched::New { seq: 0 });
    let repetition = Command { reply: b"another".to_vec(), at: NOW + 9, ..command.clone() };
    let again = store.launch(&tenant(), launch(&second, &repetition)).await.unwrap();
    assert_eq!(again, Launched::Repeated { reply: command.reply.clone() });
    assert_eq!(store.campaign(&tenant(), CampaignId(2)).await.unwrap(), None);
    assert_eq!(store.command(&tenant(), "request-1").await.unwrap(), Some(command));
}

/// A key is bound to its body, within a tenant.
pub async fn request_id_with_another_body_is_told(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    add_fleet(store, &other_tenant()).await;
    let (first, second) = (campaign(1), campaign(2));
    let (one, other) = (command(1), command(2));
    let launch = |campaign, command| Launch { campaign, events: &[], command: Some(command) };
    store.launch(&tenant(), launch(&first, &one)).await.unwrap();
    assert_eq!(store.launch(&tenant(), launch(&second, &other)).await.unwrap(), Launched::OtherBody);
    assert_eq!(store.campaign(&tenant(), CampaignId(2)).await.unwrap(), None);
    let theirs = store.launch(&other_tenant(), launch(&first, &other)).await.unwrap();
    assert!(matches!(theirs, Launched::New { .. }));
}
