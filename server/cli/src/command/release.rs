//! `bellwether release`: images that devices may be brought to, or come from.

use std::path::PathBuf;

use bellwether_api::{FrameCount, Release};
use clap::Subcommand;
use reqwest::Method;

use super::{release_recall, release_return};
use crate::client::{Client, Server};
use crate::failure::Failure;
use crate::file;
use crate::image_file::Reading;
use crate::output::{Output, bytes, short, table};

/// Releases.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publishes an image: a target of manifests, and a base that deltas can start from
    Publish {
        /// The image: a flat file, or ELF, Intel HEX, UF2 (see --as)
        image: PathBuf,
        #[command(flatten)]
        reading: Reading,
        /// Class name, as in the author's manifests
        #[arg(long)]
        class: String,
        /// Version, e.g. 2.1.0
        #[arg(long)]
        version: String,
        /// Component name
        #[arg(long, default_value = "app")]
        component: String,
    },
    /// Brings devices back to the images of an earlier manifest: signs them again under a higher number (offline)
    ///
    /// Devices refuse a manifest that is older than theirs, so the earlier one can't be launched again as it is. What the
    /// server has of the earlier images serves for this one; devices get deltas from what they run now.
    ///
    ///   bellwether release return lamp-1.signed.suit --sequence 3 --key author.key --out back.suit
    ///   bellwether campaign launch --manifest back.suit
    #[command(verbatim_doc_comment)]
    Return(release_return::Return),
    /// Recalls a release: nobody gets it any more, and the campaigns that lead to it are halted
    ///
    /// Right when a release turns out to be bad. Devices that ask for it are refused, and campaigns that lead to it can't be
    /// launched or let go on. Devices that run it keep it: see `who-runs`, and bring them back with `return`. The reason is
    /// shown with the campaigns that it halts.
    ///
    ///   bellwether release recall 2.1.0 --class lamp --why "flickers"
    ///   bellwether release who-runs 2.1.0 --class lamp
    #[command(verbatim_doc_comment)]
    Recall(release_recall::Change),
    /// Takes a recall back; campaigns that it halted go on with `bellwether campaign retry-failed`
    Reinstate(release_recall::Change),
    /// Lists the devices that run a release, by what they told when they registered or confirmed since
    WhoRuns(release_recall::Which),
    /// Lists releases, newest version first
    List,
    /// Shows how many frames of each resource left the server since it started, and to whom
    Frames,
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    let command = match command {
        Command::Return(asked) => return release_return::run(&asked, output),
        other => other,
    };
    let client = Client::new(server)?;
    match command {
        // Done above, without a server.
        Command::Return(_) => {}
        Command::Publish { image, reading, class, version, component } => {
            let content = reading.read(&image, file::BYTES_MAX)?.bytes;
            let query = [("class", class.as_str()), ("component", &component), ("version", &version)];
            let release: Release = client.upload(Method::POST, "/v1/releases", &query, content).await?;
            output.print(&release, |release| {
                let size = bytes(release.size);
                format!(
                    "Published {} {} ({size}, {})",
                    release.class,
                    release.version,
                    short(&release.digest)
                )
            });
        }
        Command::Recall(change) => release_recall::recall(change, &client, output).await?,
        Command::Reinstate(change) => release_recall::reinstate(change, &client, output).await?,
        Command::WhoRuns(which) => release_recall::who_runs(which, &client, output).await?,
        Command::List => {
            let releases: Vec<Release> = client.get("/v1/releases").await?;
            output.print(&releases, |releases| list(releases));
        }
        Command::Frames => {
            let counts: Vec<FrameCount> = client.get("/v1/frames").await?;
            output.print(&counts, |counts| frames(counts));
        }
    }
    Ok(())
}

fn list(releases: &[Release]) -> String {
    let row = |release: &Release| {
        vec![
            release.class.clone(),
            release.component.clone(),
            release.version.clone(),
            bytes(release.size),
            short(&release.digest),
            release.recalled_why.as_ref().map(|why| format!("recalled: {why}")).unwrap_or_default(),
        ]
    };
    table(
        &["CLASS", "COMPONENT", "VERSION", "SIZE", "DIGEST", "STATE"],
        &releases.iter().map(row).collect::<Vec<_>>(),
    )
}

fn frames(counts: &[FrameCount]) -> String {
    let rows = |count: &FrameCount| {
        let row = |(identity, sent): (&String, &u64)| {
            vec![short(&count.root), count.frames.to_string(), identity.clone(), sent.to_string()]
        };
        count.sent.iter().map(row).collect::<Vec<_>>()
    };
    table(&["RESOURCE", "FRAMES", "TO", "SENT"], &counts.iter().flat_map(rows).collect::<Vec<_>>())
}
