//! `bellwether-agent run`: boot loader, image and agent, boot after boot.

use crate::cli::RunArgs;
use crate::clock::Clock;
use crate::flash_file::{FlashFile, FlashFileError};
use crate::halt::HaltPoint;
use crate::header::{Component, Header, Kind};
use crate::image::{Program, Running};
use crate::prepare::class_id;
use crate::prepare::vendor_id;
use crate::random::OsRandom;
use crate::server::{self, ServerError};
use crate::session::{Ended, Session};
use crate::status::{Status, StatusFile};
use bellwether_agent::agent::{Agent, Config};
use bellwether_agent::keys::unit::{GatewayLink, UnitData, UnitError};
use bellwether_agent::manifests::anchors::{Anchors, AnchorsError};
use bellwether_agent::manifests::cose::P256;
use bellwether_agent::manifests::message::Moment;
use bellwether_agent::update::anchors::ANCHORS_BYTES_MAX;
use bellwether_agent::update::boot::BootError;
use bellwether_agent::update::record::RecordStore;
use bellwether_agent::update::trial::{self, Selected};
use bellwether_agent::update::{Facts, Memory, UpdateError, Updater, Work};
use std::io;
use std::time::Duration;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Why a device cannot go on.
#[derive(Debug, Error)]
pub(crate) enum DeviceError {
    /// The flash file cannot be used.
    #[error(transparent)]
    File(#[from] FlashFileError),
    /// The flash holds no usable unit data.
    #[error("the unit data in the flash cannot be read; make the flash anew")]
    Unit(#[from] UnitError),
    /// The anchors in the flash are not believed.
    #[error("the anchors in the flash are not believed; make the flash anew")]
    Anchors(#[from] AnchorsError),
    /// There is no image to boot.
    #[error("no image can be booted")]
    Boot(#[from] BootError<io::Error>),
    /// The update core cannot go on.
    #[error("the update core cannot go on; start the device again")]
    Update(#[from] UpdateError<io::Error>),
    /// The unit data names a server or a gateway in a way that cannot be read.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Random(#[from] getrandom::Error),
    /// The operating system refused a socket, a file or a signal handler.
    #[error("the operating system refused")]
    System(#[from] io::Error),
    /// The DTLS credential is not one.
    #[error("the DTLS credential in the flash cannot be used; make the flash anew")]
    Credential,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Finished {
    /// The update that was waited for is installed and acknowledged, or the device was asked to end.
    Well,
    /// The update that was waited for was refused or failed.
    NotUpdated,
}

/// A device that is switched on.
pub(crate) struct Device<'a> {
    pub(crate) header: &'a Header,
    pub(crate) unit: &'a UnitData<'a>,
    /// The gateway that is used.
    pub(crate) gateway: Option<GatewayLink<'a>>,
    pub(crate) args: &'a RunArgs,
    pub(crate) clock: Clock,
    pub(crate) status: Status,
    pub(crate) file: StatusFile,
    pub(crate) terminate: Signal,
    pub(crate) interrupt: Signal,
    pub(crate) lines: mpsc::Receiver<String>,
    line_sender: mpsc::Sender<String>,
}

/// Switches a device on, with a file that tells how it is; returns when it was told to end, or, if asked, when its update
/// has come to an end.
///
/// # Errors
///
/// [`DeviceError`] tells what to do.
pub(crate) async fn run(args: &RunArgs, file: StatusFile) -> Result<Finished, DeviceError> {
    let (mut flash, mut header) = FlashFile::open(&args.flash)?;
    forget_seed(&mut flash, &mut header)?;
    let unit = UnitData::decode(&header.unit)?;
    let anchors = Anchors::initial(unit.anchors)?;
    let servers: Vec<&str> = unit.servers.iter().collect();
    let gateway = unit.gateways.get(0).filter(|_| !args.no_gateway);
    servers.iter().copied().chain(gateway.map(|gateway| gateway.uri)).try_for_each(server::check)?;
    let ids: Vec<Vec<u8>> = header.components.iter().map(Component::id).collect();
    let components: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    let vendor = vendor_id(&header.vendor);
    let facts = Facts {
        id: unit.id,
        vendor,
        class: class_id(vendor, &header.class),
        patch_algorithms: &header.patch_algorithms,
        servers: &servers,
        built: header.made,
        anchors,
        signatures: &P256,
        share_offer: args.share.into(),
        components: &components,
    };
    let (line_sender, lines) = mpsc::channel(LINES_MAX);
    let mut device = Device {
        header: &header,
        unit: &unit,
        gateway,
        args,
        clock: Clock::start(),
        status: Status::new(unit.id, &header, gateway.is_some()),
        file,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        lines,
        line_sender,
    };
    loop {
        match Box::pin(device.boot(&mut flash, &facts)).await? {
            Ended::Reboot => tracing::info!("restarting"),
            Ended::Finished(finished) => return Ok(finished),
        }
    }
}

impl Device<'_> {
    /// One boot: the boot loader, then the image and the agent until the next one.
    async fn boot(&mut self, flash: &mut FlashFile, facts: &Facts<'_>) -> Result<Ended, DeviceError> {
        let Some(selected) = self.load(flash).await? else { return Ok(Ended::Reboot) };
        let running = self.start_images(flash, &selected)?;
        let mut memory = Box::new(Memory::<[u8; ANCHORS_BYTES_MAX]>::new());
        let now = self.clock.now().0;
        let updater = Updater::start(&mut *flash, OsRandom::open()?, *facts, &mut *memory, now)?;
        self.status.says = None;
        self.status.read_record(&updater);
        self.file.write(&self.status);
        tracing::info!(
            endpoint = self.unit.id,
            version = updater.running().version_text(),
            digest = %hex::encode(&updater.running().digest[..8]),
            place = ?updater.record().place,
            "booted"
        );
        let just_confirmed = selected.on_trial && owes_installed(&updater);
        if let Some(halt @ HaltPoint::Confirmed) = self.args.halt_at
            && just_confirmed
        {
            halt.halt();
        }
        let ended = if updater.work() == Work::Reboot {
            Ok(Ended::Reboot)
        } else {
            let agent = Agent::new(updater, self.agent_config());
            Box::pin(Session::new(self, agent)?.run()).await
        };
        for program in running {
            program.stop().await;
        }
        ended
    }

    /// The boot loader: `None` after a trial that was rolled back.
    async fn load(&mut self, flash: &mut FlashFile) -> Result<Option<Selected>, DeviceError> {
        let selected = trial::select(flash)?;
        if !selected.on_trial {
            return Ok(Some(selected));
        }
        for (component, _, image) in selected.components() {
            let name = &self.header.components[component].name;
            tracing::info!(component = name, version = image.version_text(), "on trial");
        }
        if let Err(reason) = self.self_test(flash, &selected).await? {
            tracing::warn!(%reason, "self-test failed, going back");
            trial::roll_back(flash)?;
            self.status.reason = Some(format!("rolled back: {reason}"));
            return Ok(None);
        }
        trial::confirm(flash)?;
        tracing::info!("self-test passed, image confirmed");
        Ok(Some(selected))
    }

    /// Every component has to pass, also one that the update left as it was: it must work with the new ones. The inner
    /// error is the images', the outer one the device's.
    async fn self_test(
        &self,
        flash: &mut FlashFile,
        selected: &Selected,
    ) -> Result<Result<(), String>, DeviceError> {
        if self.header.kind == Kind::Microcontroller {
            // The boot loader has compared the digests, which is the whole test here.
            return Ok(Ok(()));
        }
        for (component, slot, image) in selected.components() {
            let image = flash.read_slot(slot.region(component), image.bytes)?;
            if let Err(error) = Program::write(&image)?.self_test().await {
                let name = &self.header.components[component].name;
                return Ok(Err(format!("{name}: {error}")));
            }
        }
        Ok(Ok(()))
    }

    /// Starts the image of every component; the application's output is relayed.
    fn start_images(&self, flash: &mut FlashFile, selected: &Selected) -> Result<Vec<Running>, DeviceError> {
        let mut running = Vec::new();
        if self.header.kind == Kind::Microcontroller {
            return Ok(running);
        }
        for (component, slot, image) in selected.components() {
            let image = flash.read_slot(slot.region(component), image.bytes)?;
            let lines = if component == 0 { self.line_sender.clone() } else { mpsc::channel(1).0 };
            match Program::write(&image)?.start(lines) {
                Ok(program) => running.push(program),
                // The agent is not part of the image here, so the device can still be given a better one.
                Err(error) => tracing::error!(component, %error, "the image does not start"),
            }
        }
        Ok(running)
    }

    fn agent_config(&self) -> Config {
        let ack_timeout = Duration::from_millis(self.args.ack_timeout_ms);
        // A device that sleeps is not to wake for its gateway alone.
        let sleeps = self.args.queue_mode.then_some(self.args.lifetime_s);
        let hello = self.args.hello_s.or(sleeps).map(|hello_s| Duration::from_secs(hello_s.into()));
        Config {
            endpoint: self.unit.id.to_owned(),
            lifetime_s: self.args.lifetime_s,
            manufacturer: self.header.vendor.clone(),
            model: self.header.class.clone(),
            waiting_silence: ack_timeout * WAITING_SILENCE_FACTOR,
            retry_first: ack_timeout,
            retry_longest: ack_timeout * RETRY_LONGEST_FACTOR,
            gateway: self.gateway.is_some(),
            hello: hello.unwrap_or(ack_timeout * WAITING_SILENCE_FACTOR),
            detour: ack_timeout * DETOUR_FACTOR,
        }
    }
}

/// Takes the seed out of the header of a flash that an earlier program made, once the record is seen to have it.
fn forget_seed(flash: &mut FlashFile, header: &mut Header) -> Result<(), DeviceError> {
    RecordStore::new().load(flash).map_err(UpdateError::from)?;
    if header.forget_seed()? {
        flash.write_header(header)?;
        tracing::info!("the factory's copy of the seed is overwritten");
    }
    Ok(())
}

fn owes_installed<F, R>(updater: &Updater<'_, F, R>) -> bool
where
    F: bellwether_agent::platform::Flash,
    R: bellwether_agent::platform::Random,
{
    updater.record().reports.iter().flatten().any(|report| report.moment == Moment::Installed)
}

/// Longest silence while an image waits for the server's word, and time between hellos to the gateway, in first
/// waits: a minute with CoAP's own 2 s.
const WAITING_SILENCE_FACTOR: u32 = 30;

/// Longest wait between tries, in first waits: 300 s with CoAP's own 2 s.
const RETRY_LONGEST_FACTOR: u32 = 150;

/// Time for which the server is asked instead of a gateway that does not serve, in first waits: ten minutes with CoAP's
/// own 2 s.
const DETOUR_FACTOR: u32 = 300;

/// Lines of the image's output that wait to be relayed.
const LINES_MAX: usize = 16;
