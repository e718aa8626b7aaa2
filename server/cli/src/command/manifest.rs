//! `bellwether manifest`: made, signed and shown offline, and published.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use bellwether_api::Manifest;
use bellwether_manifests::author::{
    self, ClassImage, ComponentDraft, ManifestDraft, Profile, class_id, vendor_id,
};
use bellwether_manifests::version;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use sha2::{Digest, Sha256};

use crate::client::{Client, Server};
use crate::failure::{Failure, with_causes};
use crate::file::{self, Access};
use crate::image_file::Reading;
use crate::key_file;
use crate::output::{Output, short};
use crate::summary::{self, Summary};
use crate::system;

/// Manifests.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a manifest without a signature: which class ends with which image
    ///
    ///   bellwether manifest make --vendor example.com --sequence 2 \
    ///       --image lamp=lamp-2.0.0.bin:2.0.0 --image meter=meter-1.4.bin:1.4 --out fleet.suit
    ///   bellwether manifest sign fleet.suit --key author.key --out fleet.signed.suit
    #[command(verbatim_doc_comment)]
    Make(Make),
    /// Adds an author's signature to a manifest, after its digest was checked
    ///
    ///   bellwether manifest sign fleet.suit --key author.key --out fleet.signed.suit
    #[command(verbatim_doc_comment)]
    Sign {
        /// Envelope, from `manifest make`
        file: PathBuf,
        /// The author's private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the signed envelope goes
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Gives the server a signed manifest, which it verifies and keeps; nothing is offered to any device
    ///
    /// Prints the digest, by which a campaign names it that is launched over MQTT or HTTP. `campaign launch` does this
    /// by itself.
    Publish {
        /// Signed envelope, from `manifest sign`
        file: PathBuf,
    },
    /// Shows what a manifest says, and who signed it
    ///
    /// With --anchors the signature is verified; the status is 1 if no author in them signed it.
    Show {
        /// Envelope
        file: PathBuf,
        /// Signed anchors, from `keys anchors`
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
    },
}

/// What the manifest shall say.
#[derive(Args, Debug)]
pub(crate) struct Make {
    /// Domain of the vendor, as in the anchors
    #[arg(long, value_name = "DOMAIN")]
    vendor: String,
    /// Number, higher than that of every earlier manifest: devices refuse an older one
    #[arg(long, value_name = "N")]
    sequence: u64,
    /// Class, its image, and the image's version, e.g. lamp=lamp.bin:2.0.0; one per class
    ///
    /// For a class with several components one per component, e.g. gate/radio=radio.bin:1.1.0 beside
    /// gate/app=app.bin:2.0.0; without a name it is the component `app`. Name them in the order in which the devices have
    /// them. They are updated together; every class of the manifest must have the same ones.
    ///
    /// The files are flat images, or ELF, Intel HEX or UF2 (see --as).
    ///
    /// A version of up to three numbers, as 2.0.0 or 1.2-rc.3 (alpha, beta, rc), is what the devices of the class call
    /// theirs; any other is a text for people.
    #[arg(long = "image", required = true, value_name = "CLASS[/COMPONENT]=FILE[:VERSION]")]
    images: Vec<Image>,
    #[command(flatten)]
    reading: Reading,
    /// Where devices ask for their resources, relative to their server or absolute
    #[arg(long, default_value = "/u", value_name = "URI")]
    uri: String,
    /// Names the manifest in reports [default: `https://DOMAIN/manifests/SEQUENCE`]
    #[arg(long, value_name = "URI")]
    reference_uri: Option<String>,
    /// How the questions travel
    #[arg(long, value_enum, default_value = "p")]
    profile: Questions,
    /// Seconds since 1970 after which no device may follow it, e.g. $(date -d '+90 days' +%s)
    #[arg(long, value_name = "SECONDS")]
    use_before: Option<u64>,
    /// How urgent it is: a smaller number replaces an open update of a larger one, or of none, on the device
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Where the envelope goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// How the questions to the device (the characteristic definition) travel.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Questions {
    /// In a private parameter: for devices with Bellwether's agent
    P,
    /// In the fetch arguments
    S,
    /// In the URI's query: for fleets with other SUIT processors too
    U,
}

/// One class's image on the command line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Image {
    class: String,
    component: String,
    file: String,
    version: Option<String>,
}

/// Reads `CLASS[/COMPONENT]=FILE[:VERSION]`; the last colon counts, and only one with a version behind it.
impl FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("{text:?} is not CLASS=FILE or CLASS=FILE:VERSION, e.g. lamp=lamp.bin:2.0.0");
        let (class, rest) = text.split_once('=').ok_or_else(expected)?;
        let (file, version) = match rest.rsplit_once(':') {
            Some((file, version)) if !version.is_empty() && !version.contains('/') => (file, Some(version)),
            Some((_, "")) => return Err(expected()),
            _ => (rest, None),
        };
        let (class, component) = class.split_once('/').unwrap_or((class, APP));
        if class.is_empty() || component.is_empty() || file.is_empty() {
            return Err(expected());
        }
        let (class, component) = (class.to_owned(), component.to_owned());
        Ok(Self { class, component, file: file.to_owned(), version: version.map(str::to_owned) })
    }
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    match command {
        Command::Publish { file } => {
            let envelope = file::read(&file)?;
            let client = Client::new(server)?;
            let manifest: Manifest = client.upload(Method::POST, "/v1/manifests", &[], envelope).await?;
            output.print(&manifest, |manifest| {
                let classes: Vec<&str> = manifest.classes.iter().map(|one| one.class.as_str()).collect();
                format!("Published manifest {} for {}", manifest.digest, classes.join(", "))
            });
            Ok(())
        }
        Command::Make(make) => {
            let envelope = draft(&make, system::now()?)?.unsigned();
            let envelope = envelope.map_err(|error| Failure::Usage(with_causes(&error)))?;
            leave(&make.out, &envelope, output, |summary| {
                let (digest, file) = (short(&summary.digest), make.out.display());
                format!(
                    "Made manifest {digest}: {file}\nSign it: bellwether manifest sign {file} --key AUTHOR.key --out FILE"
                )
            })
        }
        Command::Sign { file, key, out } => {
            let envelope = file::read(&file)?;
            let key = key_file::read_private(&key)?;
            let signed = author::sign(&envelope, &key);
            let signed = signed.map_err(|error| Failure::file(&file, with_causes(&error)))?;
            leave(&out, &signed, output, |summary| {
                let (digest, kid) = (short(&summary.digest), hex::encode(key.public().kid()));
                format!("Signed manifest {digest} by key {kid}: {}", out.display())
            })
        }
        Command::Show { file, anchors } => {
            let shown = summary::of_file(&file, anchors.as_deref())?;
            output.print(&shown, Summary::text);
            Ok(())
        }
    }
}

/// Writes the envelope and says what it is.
fn leave(
    out: &Path,
    envelope: &[u8],
    output: Output,
    text: impl FnOnce(&Summary) -> String,
) -> Result<(), Failure> {
    let summary = summary::of_unverified(out, envelope)?;
    file::write_new(out, envelope, Access::Public)?;
    output.print(&summary, text);
    Ok(())
}

fn draft(make: &Make, now: u64) -> Result<ManifestDraft, Failure> {
    if make.use_before.is_some_and(|time| time <= now) {
        let text = format!("--use-before lies in the past; it is {now} now");
        return Err(Failure::Usage(text));
    }
    let vendor = vendor_id(&make.vendor);
    let (component, classes, further) = components(&vendor, &make.images, make.reading)?;
    let reference = || format!("https://{}/manifests/{}", make.vendor, make.sequence);
    let reference = make.reference_uri.clone().unwrap_or_else(reference);
    let profile = match make.profile {
        Questions::P => Profile::Private,
        Questions::S => Profile::FetchArguments,
        Questions::U => Profile::Query,
    };
    let draft = ManifestDraft {
        component,
        request_identifier: make.uri.clone(),
        profile,
        use_before: make.use_before,
        priority: make.priority,
        version: version_text(&make.images),
        ..ManifestDraft::new(make.sequence, vendor, classes, reference)
    };
    Ok(further.into_iter().fold(draft, ManifestDraft::with))
}

/// A component with its images, and those beside it.
type Components = (Vec<Vec<u8>>, Vec<ClassImage>, Vec<ComponentDraft>);

/// Sorts the images by component, in the order in which these are named first.
fn components(vendor: &[u8; 16], images: &[Image], reading: Reading) -> Result<Components, Failure> {
    let mut drafts: Vec<ComponentDraft> = Vec::new();
    for image in images {
        let id = vec![image.component.clone().into_bytes()];
        let class = class_image(vendor, image, reading)?;
        match drafts.iter_mut().find(|draft| draft.component == id) {
            Some(draft) => draft.classes.push(class),
            None => drafts.push(ComponentDraft { component: id, classes: vec![class] }),
        }
    }
    let mut drafts = drafts.into_iter();
    let first = drafts.next().ok_or_else(|| Failure::Usage("--image is missing".to_owned()))?;
    Ok((first.component, first.classes, drafts.collect()))
}

fn class_image(vendor: &[u8; 16], image: &Image, reading: Reading) -> Result<ClassImage, Failure> {
    let path = Path::new(&image.file);
    let content = reading.read(path, file::BYTES_MAX)?.bytes;
    if content.is_empty() {
        return Err(Failure::file(path, "is empty: no device can run that"));
    }
    Ok(ClassImage {
        class: class_id(vendor, &image.class),
        digest: Sha256::digest(&content).into(),
        size: content.len() as u64,
        version: image.version.as_deref().and_then(version::numbers).map(Iterator::collect),
    })
}

/// The text for people: one version where all agree, else each with its class, and with its component where there are
/// several.
fn version_text(images: &[Image]) -> Option<String> {
    let several = images.iter().any(|image| image.component != images[0].component);
    let name = |image: &Image| {
        if several { format!("{}/{}", image.class, image.component) } else { image.class.clone() }
    };
    let known: Vec<(String, &str)> =
        images.iter().filter_map(|image| Some((name(image), image.version.as_deref()?))).collect();
    let (_, first) = known.first()?;
    if known.len() == images.len() && known.iter().all(|(_, version)| version == first) {
        return Some((*first).to_owned());
    }
    let each = known.iter().map(|(class, version)| format!("{class} {version}"));
    Some(each.collect::<Vec<_>>().join(", "))
}

/// The component of whoever names none.
const APP: &str = "app";

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> Image {
        text.parse().expect("valid")
    }

    #[test]
    fn version_stands_behind_the_last_colon() {
        let read = image("lamp=a:b.bin:2.0.0");
        assert_eq!((read.file.as_str(), read.version.as_deref()), ("a:b.bin", Some("2.0.0")));
    }

    #[test]
    fn component_stands_behind_the_class_and_is_app_where_none_is_named() {
        let read = image("gate/radio=a/b.bin:1.1");
        assert_eq!((read.class.as_str(), read.component.as_str()), ("gate", "radio"));
        assert_eq!((read.file.as_str(), read.version.as_deref()), ("a/b.bin", Some("1.1")));
        assert_eq!(image("gate=a/b.bin").component, "app");
        assert!("gate/=x".parse::<Image>().is_err() && "/radio=x".parse::<Image>().is_err());
    }

    #[test]
    fn versions_of_several_components_are_told_apart() {
        let images = [image("gate=x:2"), image("gate/radio=y:1")];
        assert_eq!(version_text(&images), Some("gate/app 2, gate/radio 1".to_owned()));
    }

    #[test]
    fn colon_in_a_folder_is_no_version() {
        let read = image("lamp=a:b/c.bin");
        assert_eq!((read.file.as_str(), read.version), ("a:b/c.bin", None));
    }

    #[test]
    fn one_version_for_all_is_said_once() {
        assert_eq!(version_text(&[image("a=x:1"), image("b=y:1")]), Some("1".to_owned()));
        assert_eq!(version_text(&[image("a=x:1"), image("b=y:2")]), Some("a 1, b 2".to_owned()));
        assert_eq!(version_text(&[image("a=x:1"), image("b=y")]), Some("a 1".to_owned()));
        assert_eq!(version_text(&[image("a=x")]), None);
    }
}
