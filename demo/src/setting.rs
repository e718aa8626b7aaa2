//! What is there before the first device is switched on: images, server, line, gateway, keys, releases, devices,
//! manifest.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::board::{self, Programs};
use crate::console::{Console, SERVER_DATA};
use crate::firmware::{Firmware, changed, noise};
use crate::folder::DataFolder;
use crate::gateway::{ACK_TIMEOUT_MS, Gateway};
use crate::line::Line;
use crate::process::{Process, ProcessError};
use crate::row::Image;
use crate::walk::STEP;

/// Where everything is made.
#[derive(Debug)]
pub struct Setting<'a> {
    pub(crate) console: &'a Console,
    pub(crate) folder: &'a DataFolder,
    pub(crate) firmware: &'a Firmware,
    /// Whether an emulated board is among the devices.
    pub(crate) has_board: bool,
    /// Versions by digest, so that what a device says it runs has one.
    versions: HashMap<String, String>,
}

/// What runs before the first device is switched on.
#[derive(Debug)]
pub struct Site {
    /// The gateway.
    pub gateway: Gateway,
    /// The line to the server.
    pub line: Line,
    /// The line of the emulated board, which is never cut; `None` without one.
    pub board_line: Option<Line>,
    // Last, so that it outlives who calls it.
    _server: Process,
}

/// A device as the factory makes it.
struct Made {
    name: &'static str,
    class: &'static str,
    kind: &'static str,
    image: String,
    version: String,
    is_behind: bool,
}

#[derive(Deserialize)]
struct Listening {
    coaps: SocketAddr,
    coap: Option<SocketAddr>,
}

impl<'a> Setting<'a> {
    /// Prepares the images; `lamps` is the folder of the lamp's programs, `board` what an emulated board runs.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Io`] for an image that can't be copied.
    pub fn new(
        console: &'a Console,
        folder: &'a DataFolder,
        firmware: &'a Firmware,
        lamps: &Path,
        board: Option<&Programs>,
    ) -> Result<Self, ProcessError> {
        let has_board = board.is_some();
        let mut setting = Self { console, folder, firmware, has_board, versions: HashMap::new() };
        if let Some(programs) = board {
            setting.take_image(&programs.loader(), board::LOADER, "boot loader")?;
            for version in [board::BEFORE, board::TARGET] {
                setting.take_image(&programs.firmware(version), &board::image(version), version)?;
            }
        }
        setting.take_image(&lamps.join("lamp-v1"), &lamp_image(LAMP_BEFORE), LAMP_BEFORE)?;
        setting.take_image(&lamps.join("lamp-v2"), &lamp_image(LAMP), LAMP)?;
        for (version, path) in &firmware.versions {
            setting.take_image(path, &meter_image(version), version)?;
        }
        setting.put_image(&noise(VALVE_BYTES), VALVE_IMAGE, VALVE)?;
        if firmware.older().is_none() {
            let previous = setting.content(&meter_image(&firmware.previous().0))?;
            let unlisted = changed(&previous, UNLISTED_STEP, previous.len() / 2);
            setting.put_image(&unlisted, &meter_image(UNLISTED), UNLISTED)?;
        }
        Ok(setting)
    }

    fn take_image(&mut self, from: &Path, to: &str, version: &str) -> Result<(), ProcessError> {
        let failed = |source| ProcessError::Io { program: from.display().to_string(), source };
        let content = fs::read(from).map_err(failed)?;
        self.put_image(&content, to, version)
    }

    pub(crate) fn put_image(&mut self, content: &[u8], to: &str, version: &str) -> Result<(), ProcessError> {
        let path = self.folder.path().join(to);
        let failed = |source| ProcessError::Io { program: path.display().to_string(), source };
        fs::write(&path, content).map_err(failed)?;
        self.versions.insert(digest(content), version.to_owned());
        Ok(())
    }

    /// Starts server, line and gateway, and makes keys, releases, devices and manifest.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] names the step that failed.
    pub fn make(&self) -> Result<Site, ProcessError> {
        let mut line = Line::lay(self.console, &self.folder.log("uplink"))?;
        let lay = || Line::lay(self.console, &self.folder.log("uplink-board"));
        let mut board_line = self.has_board.then(lay).transpose()?;
        let server = self.start_server(&mut line, board_line.as_mut(), "")?;
        make_keys(self.console)?;
        self.publish_releases()?;
        let at = free_port()?;
        self.console.run(&format!(
            "bellwether gateway add {GATEWAY} --uri coaps://{at} --out devices/{GATEWAY}.unit"
        ))?;
        self.make_devices(board_line.as_ref())?;
        self.make_manifest()?;
        let gateway = Gateway::start(self.console, self.folder, GATEWAY, at, ACK_TIMEOUT_MS)?;
        Ok(Site { gateway, line, board_line, _server: server })
    }

    pub(crate) fn start_server(
        &self,
        line: &mut Line,
        board: Option<&mut Line>,
        more: &str,
    ) -> Result<Process, ProcessError> {
        println!("  The line to the server, which will be cut, is {}.", line.uri());
        let plain = if self.has_board { " --coap 127.0.0.1:0" } else { "" };
        let command = format!(
            "bellwether-server --data {SERVER_DATA} --coaps 127.0.0.1:0{plain} --http 127.0.0.1:0 \
             --mqtt-listen 127.0.0.1:0{more} --public-uri {}",
            line.uri()
        );
        let mut server = self.console.start("bellwether-server", &command, &self.folder.log("server"))?;
        let path = self.folder.path().join(SERVER_DATA).join("listening.json");
        let look = || Ok(serde_json::from_slice(&fs::read(&path).unwrap_or_default()).ok());
        let Listening { coaps, coap } = server.wait_until("it listens", STEP, look)?;
        line.lead_to(coaps)?;
        if let Some((line, coap)) = board.zip(coap) {
            line.lead_to(coap)?;
        }
        Ok(server)
    }

    /// The lamp's first version is not published, so that its delta can't be made and it gets the full image.
    fn publish_releases(&self) -> Result<(), ProcessError> {
        self.publish("lamp", LAMP, &lamp_image(LAMP))?;
        for (version, _) in &self.firmware.versions {
            self.publish("meter", version, &meter_image(version))?;
        }
        if self.has_board {
            for version in [board::BEFORE, board::TARGET] {
                self.publish(board::CLASS, version, &board::image(version))?;
            }
        }
        Ok(())
    }

    pub(crate) fn publish(&self, class: &str, version: &str, image: &str) -> Result<(), ProcessError> {
        let line = format!("bellwether release publish {image} --class {class} --version {version}");
        self.console.run(&line).map(drop)
    }

    fn made(&self) -> Vec<Made> {
        let (previous, _) = self.firmware.previous();
        let meter = |name, version: &str, is_behind| Made {
            name,
            class: "meter",
            kind: "microcontroller",
            image: meter_image(version),
            version: version.to_owned(),
            is_behind,
        };
        let other = |name, class, kind, image, version: &str| {
            let version = version.to_owned();
            Made { name, class, kind, image, version, is_behind: false }
        };
        vec![
            other("lamp-1", "lamp", "linux", lamp_image(LAMP_BEFORE), LAMP_BEFORE),
            meter("meter-1", previous, false),
            meter("meter-2", previous, true),
            meter("meter-3", previous, true),
            meter("meter-4", self.older(), true),
            other("valve-1", "valve", "microcontroller", VALVE_IMAGE.to_owned(), VALVE),
        ]
    }

    /// What meter-4 runs: the version before the previous one, or else one that the server was never told of.
    pub(crate) fn older(&self) -> &str {
        self.firmware.older().map_or(UNLISTED, |(version, _)| version)
    }

    fn make_devices(&self, board_line: Option<&Line>) -> Result<(), ProcessError> {
        let made = self.made();
        for Made { name, class, kind, image, version, is_behind } in &made {
            let behind = if *is_behind { format!(" --gateway {GATEWAY}") } else { String::new() };
            self.console.run(&format!(
                "bellwether device add {name} --class {class}{behind} --out devices/{name}.unit"
            ))?;
            self.console.run(&format!(
                "bellwether-agent flash --unit devices/{name}.unit --vendor {VENDOR} --class {class} \
                 --image {image} --version {version} --kind {kind} --out devices/{name}.flash"
            ))?;
        }
        if let Some(line) = board_line {
            self.make_board(line)?;
        }
        // The unit files' secrets are in the devices now, and nowhere else in clear.
        println!("$ rm devices/*-?.unit");
        let board = self.has_board.then_some(board::NAME);
        for name in made.iter().map(|made| made.name).chain(board) {
            let path = self.folder.path().join(format!("devices/{name}.unit"));
            let failed = |source| ProcessError::Io { program: path.display().to_string(), source };
            fs::remove_file(&path).map_err(failed)?;
        }
        Ok(())
    }

    fn make_board(&self, line: &Line) -> Result<(), ProcessError> {
        let (name, class, version) = (board::NAME, board::CLASS, board::BEFORE);
        println!(
            "  {name} is an emulated Cortex-M4, which speaks CoAP over plain UDP, on a line of its own:"
        );
        self.console.run(&format!(
            "bellwether device add {name} --class {class} --security none --out devices/{name}.unit"
        ))?;
        let (image, server) = (board::image(version), line.address());
        self.console.run(&format!(
            "board-factory --unit devices/{name}.unit --vendor {VENDOR} --class {class} --image {image} \
             --version {version} --server {server}"
        ))?;
        Ok(())
    }

    fn make_manifest(&self) -> Result<(), ProcessError> {
        let (target, _) = self.firmware.target();
        let (class, version) = (board::CLASS, board::TARGET);
        let board = format!(" --image {class}={}:{version}", board::image(version));
        let board = if self.has_board { board.as_str() } else { "" };
        self.console.run(&format!(
            "bellwether manifest make --vendor {VENDOR} --sequence 2 --image lamp={}:{LAMP} \
             --image meter={}:{target}{board} --out fleet.suit",
            lamp_image(LAMP),
            meter_image(target)
        ))?;
        self.console
            .run("bellwether manifest sign fleet.suit --key keys/author.key --out fleet.signed.suit")?;
        Ok(())
    }

    /// Names an image by its digest.
    pub(crate) fn image(&self, digest: &str) -> Image {
        let version = self.versions.get(digest).cloned();
        let unknown = || format!("image {}", digest.get(..12).unwrap_or(digest));
        Image { version: version.unwrap_or_else(unknown), digest: digest.to_owned() }
    }

    /// Names an image by its file.
    pub(crate) fn image_of(&self, file: &str) -> Result<Image, ProcessError> {
        Ok(self.image(&digest(&self.content(file)?)))
    }

    pub(crate) fn content(&self, image: &str) -> Result<Vec<u8>, ProcessError> {
        let path = self.folder.path().join(image);
        fs::read(&path).map_err(|source| ProcessError::Io { program: path.display().to_string(), source })
    }
}

/// Makes the author's keys and the anchors, and has the server trust them.
pub(crate) fn make_keys(console: &Console) -> Result<(), ProcessError> {
    console.run("bellwether keys new keys/root.key")?;
    console.run("bellwether keys new keys/author.key")?;
    console.run("bellwether keys distributor --out keys/distributor.pub")?;
    console.run(&format!(
        "bellwether keys anchors --vendor {VENDOR} --root keys/root.key --author keys/author.pub \
         --distributor keys/distributor.pub --out anchors.cose"
    ))?;
    console.run("bellwether keys trust anchors.cose")?;
    Ok(())
}

/// A port that is free now: devices are told the gateway's before it starts.
pub(crate) fn free_port() -> Result<SocketAddr, ProcessError> {
    let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    address.map_err(|source| ProcessError::Io { program: GATEWAY.to_owned(), source })
}

pub(crate) fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

pub(crate) fn lamp_image(version: &str) -> String {
    format!("images/lamp-{version}")
}

pub(crate) fn meter_image(version: &str) -> String {
    format!("images/meter-{version}.bin")
}

/// Name of the gateway.
pub const GATEWAY: &str = "gateway-1";
pub(crate) const VENDOR: &str = "example.com";
pub(crate) const LAMP_BEFORE: &str = "1.0.0";
pub(crate) const LAMP: &str = "2.0.0";
const VALVE: &str = "1.0.0";
pub(crate) const VALVE_IMAGE: &str = "images/valve-1.0.0.bin";
/// It is never replaced; a size is all that it needs.
const VALVE_BYTES: usize = 4_096;
/// What meter-4 runs where there are but two versions.
const UNLISTED: &str = "unlisted";
const UNLISTED_STEP: usize = 1_499;
