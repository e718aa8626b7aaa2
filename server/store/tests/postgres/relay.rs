//! A line to a data base whose machine can vanish: nothing comes over it any more, not even that it has ended.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// The relay; it ends with its test.
pub(crate) struct Relay {
    address: std::net::SocketAddr,
    is_gone: Arc<watch::Sender<bool>>,
}

impl Relay {
    /// Begins to pass on what comes to a port of this machine to a socket.
    pub(crate) async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_gone, gone) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass_on(client, socket.clone(), gone.clone()));
            }
        });
        Self { address, is_gone: Arc::new(is_gone) }
    }

    /// The URL of a data base behind it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://bellwether@{}/{database}?sslmode=disable", self.address)
    }

    /// Lets the machine vanish: its connections stand, and are silent for ever; new ones are as well.
    pub(crate) fn vanish(&self) {
        self.is_gone.send_replace(true);
    }

    /// Lets it come back, as after a start: new connections are answered.
    pub(crate) fn come_back(&self) {
        self.is_gone.send_replace(false);
    }
}

async fn pass_on(mut client: TcpStream, socket: PathBuf, mut gone: watch::Receiver<bool>) {
    if !*gone.borrow() {
        let mut server = UnixStream::connect(socket).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = gone.wait_for(|is_gone| *is_gone) => {}
        }
    }
    // Held, and neither read nor closed.
    std::future::pending::<()>().await;
    drop(client);
}
