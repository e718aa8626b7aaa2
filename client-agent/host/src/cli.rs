//! The command line.

use crate::halt::HaltPoint;
use crate::header::Kind;
use bellwether_agent::delta::Algorithm;
use bellwether_agent::update::ShareOffer;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// A device on this machine: its flash in a file, its server and its gateway over DTLS.
#[derive(Debug, Parser)]
#[command(
    name = "bellwether-agent",
    version,
    after_help = "Make a device's flash, then run it:\n  \
                  bellwether-agent flash --unit lamp-1.unit --vendor example.com --class lamp \\\n      \
                  --image ./lamp-v1 --version 1.0.0 --out lamp-1.flash\n  \
                  bellwether-agent run --flash lamp-1.flash\n\n\
                  The unit file comes from `bellwether device add`. It and the flash hold the device's secrets: \
                  keep them to yourself, and delete the unit file once the flash is made.\n\n\
                  Where the unit file names a gateway, update requests, reports and frames go there, and \
                  registration to the server. What the gateway fails three times goes to the server."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the flash of a new device, as a factory does.
    Flash(FlashArgs),
    /// Switch a device on.
    Run(RunArgs),
    /// Give a device that is switched off a new DTLS credential.
    Credential(CredentialArgs),
}

/// A new credential.
#[derive(Args, Debug)]
pub(crate) struct CredentialArgs {
    /// Unit file, from `bellwether device credential replace`; nothing but its DTLS identity, key, servers and gateways counts.
    #[arg(long, value_name = "FILE")]
    pub(crate) unit: PathBuf,
    /// The device's flash file.
    #[arg(long, value_name = "FILE")]
    pub(crate) flash: PathBuf,
}

/// What a factory writes.
#[derive(Args, Debug)]
pub(crate) struct FlashArgs {
    /// Unit file, from `bellwether device add`.
    #[arg(long, value_name = "FILE")]
    pub(crate) unit: PathBuf,
    /// Class of the device, as its vendor names it and manifests list it.
    #[arg(long, value_name = "NAME")]
    pub(crate) class: String,
    /// Domain name of the vendor; its UUID must be the one that the unit file's anchors speak for.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) vendor: String,
    /// Image that the device runs at first.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: PathBuf,
    /// Version of that image, at most 32 bytes; 1 to 3 numbers such as 1.2.0 are told to the server.
    #[arg(long)]
    pub(crate) version: String,
    /// A component beside the application, with its first image and that one's version, e.g. radio=radio.bin:1.0.0
    ///
    /// The application is the component `app`. All components are updated, tried and confirmed together.
    #[arg(long = "component", value_name = "NAME=FILE:VERSION")]
    pub(crate) components: Vec<ComponentArg>,
    /// How its images run.
    #[arg(long, value_enum, default_value_t = Kind::Linux)]
    pub(crate) kind: Kind,
    /// Bytes of each slot of every component. A delta needs room for image and patch together. [default: twice the image,
    /// at least 262144]
    #[arg(long, value_name = "N")]
    pub(crate) slot_bytes: Option<u32>,
    /// Number of a patch algorithm that the device applies.
    #[arg(long, value_name = "NUMBER", default_value_t = Algorithm::FIELDS.0, allow_negative_numbers = true)]
    pub(crate) patch: i32,
    /// The device takes full images only.
    #[arg(long, conflicts_with = "patch")]
    pub(crate) no_patch: bool,
    /// Flash file to make, readable by its owner alone; never overwritten.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// A further component on the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ComponentArg {
    /// Its name.
    pub(crate) name: String,
    /// Its first image.
    pub(crate) image: PathBuf,
    /// Version of that image.
    pub(crate) version: String,
}

/// Reads `NAME=FILE:VERSION`; the last colon counts.
impl FromStr for ComponentArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
        match parts {
            Some((name, (image, version)))
                if !name.is_empty() && !image.is_empty() && !version.is_empty() =>
            {
                Ok(Self { name: name.to_owned(), image: image.into(), version: version.to_owned() })
            }
            _ => Err(format!("{text:?} is not NAME=FILE:VERSION, e.g. radio=radio.bin:1.0.0")),
        }
    }
}

/// How a device is switched on.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Flash file, from `bellwether-agent flash`.
    #[arg(long, value_name = "FILE")]
    pub(crate) flash: PathBuf,
    /// JSON file that always tells how the device is; replaced as a whole at each step.
    #[arg(long, value_name = "FILE")]
    pub(crate) status: Option<PathBuf>,
    /// First wait for an acknowledgement, in milliseconds. A silent server is given up after 46 times this; waits
    /// between tries grow to 150 times this.
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(crate) ack_timeout_ms: u64,
    /// Lifetime of the registration, in seconds. The device is heard of at half of a short one, and 93 s before the
    /// end of a long one; so long a dead session may go unnoticed.
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) lifetime_s: u32,
    /// Switch the radio off between messages, as devices on batteries do (LwM2M queue mode): the registration says so, and
    /// what comes in meanwhile is lost.
    ///
    /// The device listens for --awake-s after each exchange, then sleeps until it has something to say: its registration is
    /// due, or a report. Then it hears what waited for it. An update under way keeps it awake. Its DTLS session outlives its
    /// sleep, by a connection ID. How long it sleeps follows from --lifetime-s: nobody reaches it before.
    #[arg(long)]
    pub(crate) queue_mode: bool,
    /// With --queue-mode: seconds for which it listens after an exchange. The server must not believe in more: see its
    /// --queue-mode-awake-s.
    #[arg(
        long, value_name = "S", default_value_t = 93, requires = "queue_mode",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub(crate) awake_s: u32,
    /// Time between two hellos to the gateway, in seconds; so long a dead one may go unnoticed while nothing else is
    /// sent there. [default: 30 times --ack-timeout-ms; with --queue-mode, --lifetime-s]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) hello_s: Option<u32>,
    /// Use no gateway, also where the unit file names one.
    #[arg(long)]
    pub(crate) no_gateway: bool,
    /// When update requests carry this device's share for the next seed.
    #[arg(long, value_enum, default_value_t = Share::ChainEnd)]
    pub(crate) share: Share,
    /// Cut the power at a point: the process ends at once, with status 3 and without any cleaning up.
    ///
    /// manifest-stored, granted, frame:N (after frame N, from 0, stands in flash), decrypted, trial (the trial is
    /// marked, the restart has not begun), confirmed (the new image is confirmed and on record, with the next seed where
    /// the grant brings one, nothing was sent), go-wanted (that the image may be started is on record, "go?" was not
    /// sent), forwarded (an operator's "forward" is on record), anchors (new anchors are kept and
    /// enforced).
    #[arg(long, value_name = "POINT")]
    pub(crate) halt_at: Option<HaltPoint>,
    /// End once an update has come to its end and the server has acknowledged it: with status 0 if the device runs
    /// the new image, with 1 if it was refused or failed.
    #[arg(long)]
    pub(crate) exit_when_updated: bool,
}

/// When a device sends its share for the next seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Share {
    /// Never: who knows this seed knows the next one.
    Never,
    /// At the end of the key chain, where the next grant must re-seed.
    ChainEnd,
    /// Always, so that a campaign can re-seed with shares; gateways pass such requests on.
    Always,
}

impl From<Share> for ShareOffer {
    fn from(share: Share) -> Self {
        match share {
            Share::Never => Self::Never,
            Share::ChainEnd => Self::AtChainEnd,
            Share::Always => Self::Always,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn component_is_read_with_its_image_and_version() {
        let read: ComponentArg = "radio=a:b/radio.bin:1.0.0".parse().unwrap();
        assert_eq!((read.name.as_str(), read.version.as_str()), ("radio", "1.0.0"));
        assert_eq!(read.image, PathBuf::from("a:b/radio.bin"));
        for text in ["radio", "radio=x", "=x:1", "radio=:1", "radio=x:"] {
            assert!(text.parse::<ComponentArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn negative_patch_number_is_not_taken_for_an_option() {
        let words =
            "bellwether-agent flash --unit u --class c --vendor v --image i --version 1 --out o --patch -1";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        assert!(matches!(cli.command, Command::Flash(FlashArgs { patch: -1, no_patch: false, .. })));
    }

    #[test]
    fn version_of_the_image_does_not_print_the_version_of_the_program() {
        let words =
            "bellwether-agent flash --unit u --class c --vendor v --image i --version 1.0 --out o --no-patch";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        assert!(
            matches!(cli.command, Command::Flash(FlashArgs { version, no_patch: true, .. }) if version == "1.0")
        );
    }
}
