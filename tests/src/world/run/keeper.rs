//! Kills servers and gateways, and starts them again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::world::gateway::Gateway;
use crate::world::plan::Crash;
use crate::world::server::Server;
use crate::world::store::Stop;

/// What is to be done with the server; and how long it is dark then.
enum Order {
    Crash(Crash, Duration),
    /// Crash at once, say so, and wait for the word to go on.
    Hold(oneshot::Sender<()>, oneshot::Receiver<()>, Duration),
}

/// Whoever starts what has crashed.
pub(super) struct Keeper {
    server: Server,
    gateways: Vec<Gateway>,
    orders: mpsc::UnboundedSender<Order>,
    crashes: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Keeper {
    pub(super) fn new(server: Server, gateways: Vec<Gateway>) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let crashes = Arc::<AtomicU64>::default();
        let task = tokio::spawn(keep(server.clone(), inbox, Arc::clone(&crashes)));
        Self { server, gateways, orders, crashes, task }
    }

    /// Lets the server crash, and stay dark for a while.
    pub(super) fn crash_server(&self, crash: Crash, dark: Duration) {
        let _ = self.orders.send(Order::Crash(crash, dark));
    }

    /// Lets the server crash, does something while it is down, and starts it after a while.
    pub(super) async fn while_down(&self, dark: Duration, act: impl FnOnce()) {
        let ((down, is_down), (done, is_done)) = (oneshot::channel(), oneshot::channel());
        let _ = self.orders.send(Order::Hold(down, is_done, dark));
        is_down.await.expect("somebody who keeps the server");
        act();
        let _ = done.send(());
    }

    /// Kills a gateway and starts it again after a while.
    pub(super) fn crash_gateway(&self, number: usize, dark: Duration) {
        let Some(gateway) = self.gateways.get(number).filter(|gateway| gateway.is_up()).cloned() else {
            return;
        };
        self.crashes.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            gateway.crash().await;
            sleep(dark).await;
            gateway.start();
        });
    }

    /// Takes back a crash that has not come.
    pub(super) fn calm(&self) {
        self.server.commits().stop_at(NEVER, Stop::Before);
    }

    pub(super) fn crashes(&self) -> u64 {
        self.crashes.load(Ordering::Relaxed)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(server: Server, mut inbox: mpsc::UnboundedReceiver<Order>, crashes: Arc<AtomicU64>) {
    let mut dark = Duration::from_secs(1);
    loop {
        let order = tokio::select! {
            biased;
            () = server.stopped() => None,
            order = inbox.recv() => Some(order),
        };
        match order {
            None => {}
            Some(None) => return,
            Some(Some(Order::Hold(down, is_done, wait))) => {
                dark = wait;
                server.crash().await;
                let _ = down.send(());
                let _ = is_done.await;
            }
            Some(Some(Order::Crash(Crash::Now, wait))) => {
                dark = wait;
                server.crash().await;
            }
            Some(Some(Order::Crash(Crash::Stop, wait))) => {
                dark = wait;
                server.stop().await;
            }
            Some(Some(Order::Crash(Crash::Before(commits), wait))) => {
                dark = wait;
                server.commits().stop_at(commits, Stop::Before);
                continue;
            }
            Some(Some(Order::Crash(Crash::After(commits), wait))) => {
                dark = wait;
                server.commits().stop_at(commits, Stop::After);
                continue;
            }
        }
        crashes.fetch_add(1, Ordering::Relaxed);
        sleep(dark).await;
        while !server.start().await {
            crashes.fetch_add(1, Ordering::Relaxed);
            sleep(dark).await;
        }
    }
}

/// More commits than any run makes.
const NEVER: u64 = u64::MAX / 2;
