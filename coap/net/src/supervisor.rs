//! Tells systemd, where it started this process, how it goes. Without it there is nobody to tell, and nothing is done.

use std::time::Duration;

use sd_notify::NotifyState;

/// Says that every door is open.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// Says that the end has begun.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// Says again and again that the event loop turns, where somebody wants to know; a process that does not is ended.
pub async fn alive() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    // systemd.service(5): about half of it.
    let pause = (patience / 2).max(Duration::from_millis(1));
    loop {
        tell(NotifyState::Watchdog);
        tokio::time::sleep(pause).await;
    }
}

fn tell(state: NotifyState<'_>) {
    // Who does not listen is not told; the work goes on.
    let _ = sd_notify::notify(&[state]);
}
