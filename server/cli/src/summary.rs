//! What a manifest says, for people and for scripts.

use std::path::Path;

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::author::ManifestSummary;
use bellwether_manifests::definition::{
    CLASS_ID, FREE_STAGING_BYTES, IMAGE_DIGEST, PATCH_ALGORITHMS, VENDOR_ID, VERSION,
};
use bellwether_manifests::envelope::Envelope;
use serde::Serialize;

use crate::failure::{Failure, with_causes};
use crate::file;
use crate::output::{bytes, table};

/// A manifest, shown.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Digest that names it, in hexadecimal.
    pub(crate) digest: String,
    sequence_number: u64,
    version: Option<String>,
    reference_uri: Option<String>,
    request_identifier: Option<String>,
    components: Vec<String>,
    images: Vec<Image>,
    devices: Vec<String>,
    asked: Vec<Asked>,
    /// Whether a signature was checked and right.
    verified: bool,
    /// Ids of the keys that signed; where nothing was verified, of those that are named.
    signers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Image {
    vendor: String,
    class: String,
    component: usize,
    digest: String,
    size: Option<u64>,
    /// As the author states it.
    version: Option<String>,
}

#[derive(Debug, Serialize)]
struct Asked {
    /// Index; absent: the device itself.
    component: Option<u64>,
    items: Vec<i64>,
}

/// Shows an envelope's file; with anchors only if one of their authors signed it.
///
/// # Errors
///
/// [`Failure::File`] names the file that is not as it must be.
pub(crate) fn of_file(path: &Path, anchors: Option<&Path>) -> Result<Summary, Failure> {
    let envelope = file::read(path)?;
    let Some(anchors_path) = anchors else {
        return of_unverified(path, &envelope);
    };
    let document = file::read(anchors_path)?;
    let anchors = Anchors::initial(&document);
    let anchors = anchors.map_err(|error| Failure::file(anchors_path, with_causes(&error)))?;
    let failed = |error: &dyn std::error::Error| Failure::file(path, with_causes(error));
    let read = Envelope::parse(&envelope).map_err(|error| failed(&error))?;
    let verified = read.verify(&anchors).map_err(|error| failed(&error))?;
    let summary = ManifestSummary::new(&verified).map_err(|error| failed(&error))?;
    Ok(Summary::new(&summary))
}

/// Shows an envelope whoever signed it; its digest is checked.
///
/// # Errors
///
/// [`Failure::File`] names `path`.
pub(crate) fn of_unverified(path: &Path, envelope: &[u8]) -> Result<Summary, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::file(path, with_causes(error));
    let envelope = Envelope::parse(envelope).map_err(|error| failed(&error))?;
    let summary = ManifestSummary::unverified(&envelope).map_err(|error| failed(&error))?;
    Ok(Summary::new(&summary))
}

impl Summary {
    fn new(summary: &ManifestSummary) -> Self {
        let images = summary.classes.iter().flat_map(|class| {
            class.images.iter().map(|image| Image {
                vendor: uuid(&class.vendor),
                class: uuid(&class.class),
                component: image.component,
                digest: hex::encode(image.digest),
                size: image.size,
                version: image.version.clone(),
            })
        });
        let asked = summary
            .asked
            .iter()
            .map(|(component, items)| Asked { component: *component, items: items.clone() });
        Self {
            digest: hex::encode(summary.digest),
            sequence_number: summary.sequence_number,
            version: summary.version.clone(),
            reference_uri: summary.reference_uri.clone(),
            request_identifier: summary.request_identifier.clone(),
            components: summary.components.iter().map(|parts| component_name(parts)).collect(),
            images: images.collect(),
            devices: summary.devices.iter().map(uuid).collect(),
            asked: asked.collect(),
            verified: summary.verified,
            signers: summary.signers.iter().map(hex::encode).collect(),
        }
    }

    /// Lays it out for a person.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let absent = || "-".to_owned();
        let lines = [
            ("manifest", self.digest.clone()),
            ("sequence", self.sequence_number.to_string()),
            ("version", self.version.clone().unwrap_or_else(absent)),
            ("named", self.reference_uri.clone().unwrap_or_else(absent)),
            ("ask at", self.request_identifier.clone().unwrap_or_else(absent)),
            ("component", self.components.join(", ")),
            ("devices", if self.devices.is_empty() { "all".to_owned() } else { self.devices.join(", ") }),
            ("asked", self.asked.iter().map(Asked::text).collect::<Vec<_>>().join("; ")),
            ("signed", self.signature()),
        ];
        let lines = lines.map(|(name, value)| format!("{name:<10} {value}"));
        let row = |image: &Image| {
            let size = image.size.map_or_else(|| "?".to_owned(), bytes);
            let version = image.version.clone().unwrap_or_else(absent);
            vec![image.class.clone(), version, size, image.digest.clone()]
        };
        let rows: Vec<_> = self.images.iter().map(row).collect();
        format!("{}\n\n{}", lines.join("\n"), table(&["CLASS", "VERSION", "SIZE", "IMAGE"], &rows))
    }

    fn signature(&self) -> String {
        let signers = self.signers.join(", ");
        match (self.verified, self.signers.is_empty()) {
            (true, _) => format!("by {signers}, verified by the anchors"),
            (false, true) => "by nobody".to_owned(),
            (false, false) => format!("by {signers}, so it says; not verified, name --anchors for that"),
        }
    }
}

impl Asked {
    fn text(&self) -> String {
        let of = self.component.map_or_else(|| "device".to_owned(), |index| format!("component {index}"));
        let items: Vec<String> = self.items.iter().map(|id| question(*id)).collect();
        format!("{of}: {}", items.join(", "))
    }
}

/// Names what a device is asked for.
fn question(id: i64) -> String {
    let name = match id {
        VENDOR_ID => "vendor",
        CLASS_ID => "class",
        IMAGE_DIGEST => "digest",
        VERSION => "version",
        PATCH_ALGORITHMS => "patch algorithms",
        FREE_STAGING_BYTES => "free staging bytes",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// Parts as text where they are text, else in hexadecimal, joined by slashes.
fn component_name(parts: &[Vec<u8>]) -> String {
    let readable = |part: &Vec<u8>| {
        let text = std::str::from_utf8(part).ok().filter(|text| !text.chars().any(char::is_control));
        text.map_or_else(|| hex::encode(part), str::to_owned)
    };
    parts.iter().map(readable).collect::<Vec<_>>().join("/")
}

/// The usual form of a UUID, 8-4-4-4-12 digits.
fn uuid(id: &[u8; 16]) -> String {
    let digits = hex::encode(id);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_is_shown_as_text_where_it_is_text() {
        assert_eq!(component_name(&[b"app".to_vec(), vec![0]]), "app/00");
    }

    #[test]
    fn ids_are_shown_as_uuids() {
        assert_eq!(uuid(&[0xab; 16]), "abababab-abab-abab-abab-abababababab");
    }
}
