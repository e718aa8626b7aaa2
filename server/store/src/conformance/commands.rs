//! Idempotency keys of commands.

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::campaign::{CampaignId, CampaignState};

use super::sample::{NOW, add_fleet, campaign, command, other_tenant, tenant};
use crate::Store;
use crate::campaign::{Command, Launch, Launched, MoveError, Ordered};
use crate::ledger::Scope;

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

fn paused() -> [Event; 1] {
    let kind = EventKind::Paused { by: By::default() };
    [Event { at: NOW, campaign: Some(CampaignId(1)), device: None, kind }]
}

fn pause<'a>(events: &'a [Event], command: &'a Command) -> Ordered<'a> {
    Ordered { campaign: CampaignId(1), expected: CampaignState::Running, events, command }
}

/// What is refused leaves no command behind, so that the same request can be made again.
pub async fn order_and_its_command_are_one_commit(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let (events, command) = (paused(), command(1));
    let missing = store.order(&tenant(), pause(&events, &command)).await;
    assert!(matches!(missing, Err(MoveError::Missing)));
    assert_eq!(store.command(&tenant(), "request-1").await.unwrap(), None);

    let campaign = campaign(1);
    store.launch(&tenant(), Launch { campaign: &campaign, events: &[], command: None }).await.unwrap();
    let late = Ordered { expected: CampaignState::Halted, ..pause(&events, &command) };
    let refused = store.order(&tenant(), late).await;
    assert!(matches!(refused, Err(MoveError::Conflict { found: CampaignState::Running })));
    assert_eq!(store.command(&tenant(), "request-1").await.unwrap(), None);

    let done = store.order(&tenant(), pause(&events, &command)).await.unwrap();
    assert_eq!(done, Launched::New { seq: 1 });
    let kept = store.campaign(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    assert_eq!(kept.state, CampaignState::Paused);
    assert_eq!(store.command(&tenant(), "request-1").await.unwrap(), Some(command));
}

/// An order that comes twice finds the campaign elsewhere, and is answered as the first time.
pub async fn repeated_order_gets_its_first_reply_whatever_the_state(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let campaign = campaign(1);
    store.launch(&tenant(), Launch { campaign: &campaign, events: &[], command: None }).await.unwrap();
    let (events, first, other) = (paused(), command(1), command(2));
    store.order(&tenant(), pause(&events, &first)).await.unwrap();
    let again = store.order(&tenant(), pause(&events, &first)).await.unwrap();
    assert_eq!(again, Launched::Repeated { reply: first.reply.clone() });
    assert_eq!(store.order(&tenant(), pause(&events, &other)).await.unwrap(), Launched::OtherBody);
    assert_eq!(store.events(&tenant(), Scope::All, 0, 10).await.unwrap().len(), 1);
}
