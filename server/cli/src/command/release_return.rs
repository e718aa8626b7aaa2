//! `bellwether release return`: the images of an earlier manifest, signed again under a higher sequence number.

use std::path::PathBuf;

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::author::{self, ClassImage, ComponentDraft, ManifestDraft, ManifestSummary};
use bellwether_manifests::cose::PrivateKey;
use bellwether_manifests::envelope::Envelope;
use bellwether_manifests::version;
use clap::Args;

use crate::failure::{Failure, with_causes};
use crate::file::{self, Access};
use crate::key_file;
use crate::output::{Output, short};
use crate::summary;

/// What to return to.
#[derive(Args, Debug)]
pub(crate) struct Return {
    /// Envelope of the earlier manifest
    manifest: PathBuf,
    /// Number, higher than that of every manifest since: devices refuse an older one
    #[arg(long, value_name = "N")]
    sequence: u64,
    /// The author's private key; the earlier manifest must be signed by it, or by an author of --anchors
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Signed anchors, from `keys anchors`: where another author of theirs signed the earlier manifest
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
    /// Seconds since 1970 after which no device may follow it
    #[arg(long, value_name = "SECONDS")]
    use_before: Option<u64>,
    /// Where the signed envelope goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Verifies the earlier manifest, makes the new one and signs it; no server is asked.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) fn run(asked: &Return, output: Output) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::file(&asked.manifest, with_causes(error));
    let bytes = file::read(&asked.manifest)?;
    let envelope = Envelope::parse(&bytes).map_err(|error| failed(&error))?;
    let key = key_file::read_private(&asked.key)?;
    let earlier = verified(asked, &envelope, &key)?;
    if asked.sequence <= earlier.sequence_number {
        return Err(Failure::Usage(format!(
            "--sequence must be above {}, that of the earlier manifest, and above that of every one since",
            earlier.sequence_number
        )));
    }
    let draft = draft(asked, &earlier)?.unsigned();
    let draft = draft.map_err(|error| Failure::Usage(with_causes(&error)))?;
    let signed = author::sign(&draft, &key).map_err(|error| failed(&error))?;
    asks_the_same(&earlier, &signed, asked)?;
    let shown = summary::of_unverified(&asked.out, &signed)?;
    file::write_new(&asked.out, &signed, Access::Public)?;
    output.print(&shown, |shown| {
        let (digest, file) = (short(&shown.digest), asked.out.display());
        format!("Signed manifest {digest}: {file}\nLaunch it: bellwether campaign launch --manifest {file}")
    });
    Ok(())
}

/// Reads the earlier manifest, if somebody signed it whom the author believes: what is in an altered file must not get
/// the author's signature.
fn verified(asked: &Return, envelope: &Envelope<'_>, key: &PrivateKey) -> Result<ManifestSummary, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::file(&asked.manifest, with_causes(error));
    let Some(path) = &asked.anchors else {
        let verified = envelope.verify(&[key.public()][..]).map_err(|error| {
            let text = format!(
                "is not signed by the key in {} ({}): name the anchors that its author is in with --anchors",
                asked.key.display(),
                with_causes(&error)
            );
            Failure::file(&asked.manifest, text)
        })?;
        return ManifestSummary::new(&verified).map_err(|error| failed(&error));
    };
    let document = file::read(path)?;
    let anchors = Anchors::initial(&document).map_err(|error| Failure::file(path, with_causes(&error)))?;
    let verified = envelope.verify(&anchors).map_err(|error| failed(&error))?;
    ManifestSummary::new(&verified).map_err(|error| failed(&error))
}

fn draft(asked: &Return, earlier: &ManifestSummary) -> Result<ManifestDraft, Failure> {
    let mut parts = Vec::with_capacity(earlier.components.len());
    for (index, component) in earlier.components.iter().enumerate() {
        parts.push(ComponentDraft { component: component.clone(), classes: classes(asked, earlier, index)? });
    }
    let mut parts = parts.into_iter();
    let (Some(first), [vendor]) = (parts.next(), earlier.vendors.as_slice()) else {
        return Err(Failure::file(&asked.manifest, "is not of the form that `manifest make` gives"));
    };
    let reference = renamed(earlier.reference_uri.as_deref().unwrap_or_default(), earlier, asked.sequence);
    let draft = ManifestDraft {
        component: first.component,
        request_identifier: earlier.request_identifier.clone().unwrap_or_default(),
        devices: earlier.devices.clone(),
        priority: earlier.priority,
        use_before: asked.use_before,
        version: earlier.version.clone(),
        ..ManifestDraft::new(asked.sequence, *vendor, first.classes, reference)
    };
    Ok(parts.fold(draft, ManifestDraft::with))
}

/// The images of a component, class by class, as the earlier manifest names them.
fn classes(asked: &Return, earlier: &ManifestSummary, component: usize) -> Result<Vec<ClassImage>, Failure> {
    let mut images = Vec::new();
    for class in &earlier.classes {
        for image in class.images.iter().filter(|image| image.component == component) {
            let size =
                image.size.ok_or_else(|| Failure::file(&asked.manifest, "names no size of an image"))?;
            let version = image.version.as_deref().and_then(version::numbers).map(Iterator::collect);
            images.push(ClassImage { class: class.class, digest: image.digest, size, version });
        }
    }
    Ok(images)
}

/// The name of a manifest, with the new number in the place of the earlier one.
fn renamed(reference: &str, earlier: &ManifestSummary, sequence: u64) -> String {
    match reference.strip_suffix(&format!("/{}", earlier.sequence_number)) {
        Some(before) => format!("{before}/{sequence}"),
        None => format!("{reference}#{sequence}"),
    }
}

/// Refuses a manifest that would ask devices otherwise than the earlier one did: what that was is then in its file alone.
fn asks_the_same(earlier: &ManifestSummary, signed: &[u8], asked: &Return) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::file(&asked.manifest, with_causes(error));
    let envelope = Envelope::parse(signed).map_err(|error| failed(&error))?;
    let made = ManifestSummary::unverified(&envelope).map_err(|error| failed(&error))?;
    let is_same = made.classes == earlier.classes
        && made.definition == earlier.definition
        && made.request_identifier == earlier.request_identifier;
    if is_same {
        return Ok(());
    }
    let text = "asks devices in another way than `manifest make` does by default; make the new one with it, from the images";
    Err(Failure::file(&asked.manifest, text))
}
