//! What a registered device costs a server in memory, with and without DTLS, and how long a server that was killed takes
//! until all its devices are registered again.
//!
//! The server is a process of its own that runs what `bellwether-server` runs; each device is a socket and a session of
//! its own, from an address of its own. Beside it, in the same run: a bare socket with as many sessions and nobody
//! registered.

mod devices;
mod serve;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::task::LocalSet;

use crate::figure::{Figure, Taken};
use crate::fleet::Fleet;
use crate::{Failure, clock};

use self::devices::{AT_ONCE_MAX, Device, Devices, enrolled};
pub(crate) use self::serve::Serve;
use self::serve::Served;

/// Devices, where nobody says.
pub(crate) const DEVICES: usize = 10_000;

/// What came of a server that was killed.
struct Recovery {
    ready: Duration,
    registered: Duration,
    cpu: Duration,
}

/// Measures with so many devices.
pub(crate) fn measure(count: usize) -> Result<Taken, Failure> {
    eprintln!("measuring memory per registered device and recovery with {count} devices ...");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(measured(count)))
}

async fn measured(count: usize) -> Result<Taken, Failure> {
    let folder = tempfile::tempdir()?;
    let (secured, plain) = prepare(folder.path(), count).await?;
    let data = folder.path().join("data");

    let mut server = Served::start(&data)?;
    let before = server.resident_bytes_soon().await?;
    let devices = Devices::come(secured, server.coaps, true).await?;
    let with_dtls = per_device(before, server.resident_bytes_soon().await?, count);
    // Only where all are on can all come back.
    let recovery = match count {
        0..=AT_ONCE_MAX => Some(recover(&mut server, &data, &devices).await?),
        _ => None,
    };
    drop((server, devices));

    let server = Served::start(&data)?;
    let before = server.resident_bytes_soon().await?;
    let devices = Devices::come(plain, server.coap, true).await?;
    let without = per_device(before, server.resident_bytes_soon().await?, count);
    drop((server, devices));

    let bare = Served::start_bare()?;
    let before = bare.resident_bytes_soon().await?;
    let devices = Devices::come(serve::strangers(count)?, bare.coaps, false).await?;
    let of_bare = per_device(before, bare.resident_bytes_soon().await?, count);
    drop(devices);
    figures(count, (with_dtls, without, of_bare), recovery.as_ref())
}

fn figures(
    count: usize,
    (with_dtls, without, bare): (f64, f64, f64),
    recovery: Option<&Recovery>,
) -> Result<Taken, Failure> {
    let layer = "resident memory of the server's process, before and after all registered, per device";
    let peer = "a bare socket of bellwether-net with as many DTLS sessions, nobody registered";
    let dtls = Figure::new("memory_per_device_dtls", "B", layer, "DTLS 1.2 PSK, registered", &[with_dtls])?;
    let plain = Figure::new("memory_per_device_plain", "B", layer, "plain UDP, registered", &[without])?;
    let after = "from kill -9 and the start of a new process on the same folder";
    let seconds = |name, engine, took: Duration| Figure::new(name, "s", after, engine, &[took.as_secs_f64()]);
    let mut figures =
        vec![dtls.beside(peer, &[with_dtls], &[bare])?, plain.beside(peer, &[without], &[bare])?];
    let mut notes =
        vec![format!("{count} devices; the generator shares the machine's cores with the server")];
    match recovery {
        Some(recovery) => figures.extend([
            seconds("recovery_ready", "until it listens and says so", recovery.ready)?,
            seconds("recovery_registered", "until every device is registered again", recovery.registered)?,
            seconds("recovery_cpu", "CPU of the server until then", recovery.cpu)?,
        ]),
        None => notes.push(format!(
            "more than {AT_ONCE_MAX} devices come in parts and are cut off once they have come: no recovery is measured"
        )),
    }
    Ok(Taken { figures, notes, ..Taken::default() })
}

/// Kills the server, starts it again on the same port, and lets every device come back.
async fn recover(server: &mut Served, data: &Path, devices: &Devices) -> Result<Recovery, Failure> {
    let address = server.coaps;
    server.kill();
    let began = clock::now();
    *server = Served::start_at(data, address)?;
    let ready = began.elapsed();
    devices.register_all(server.coaps).await?;
    Ok(Recovery { ready, registered: began.elapsed(), cpu: server.cpu()? })
}

/// Enrols so many devices with a key, and as many without one.
async fn prepare(folder: &Path, count: usize) -> Result<(Vec<Device>, Vec<Device>), Failure> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).to_string();
    let fleet = Fleet::open_with(folder, "coaps://127.0.0.1:5684", &["--coap", &any]).await?;
    let secured = enrolled(&fleet, "meter", count, true).await?;
    let plain = enrolled(&fleet, "plain", count, false).await?;
    Ok((secured, plain))
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
fn per_device(before: u64, after: u64, count: usize) -> f64 {
    after.saturating_sub(before) as f64 / count as f64
}
