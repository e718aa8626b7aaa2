//! Which code of others the programs are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Lists the crates that are linked into the programs, with licence and where they come from.
///
/// # Errors
///
/// What `cargo metadata` says.
pub(crate) fn text(manifest: &Path) -> Result<String, cargo_metadata::Error> {
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), PLATFORM.to_owned()])
        .exec()?;
    let mut by_licence: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let linked = linked(&metadata);
    for package in metadata.packages.iter().filter(|package| linked.contains(&package.id)) {
        let licence = package.license.clone().unwrap_or_else(|| "see its own files".to_owned());
        let from = package.repository.clone().unwrap_or_else(|| "https://crates.io".to_owned());
        let line = format!("- {} {} ({from})", package.name, package.version);
        let licence = licence.replace('/', " OR ").split_whitespace().collect::<Vec<_>>().join(" ");
        by_licence.entry(licence).or_default().push(line);
    }
    let mut text = HEAD.to_owned();
    for (licence, mut lines) in by_licence {
        lines.sort();
        // Writing to a text does not fail.
        let _ = write!(text, "\n## {licence}\n{}\n", lines.join("\n"));
    }
    Ok(text)
}

/// Everything that is linked into the programs and is not ours.
fn linked(metadata: &Metadata) -> BTreeSet<PackageId> {
    let ours = |id: &PackageId| metadata.workspace_members.contains(id);
    let (mut found, mut left) = (BTreeSet::new(), Vec::new());
    left.extend(
        metadata
            .packages
            .iter()
            .filter(|package| ours(&package.id) && PROGRAMS.contains(&package.name.as_str()))
            .map(|package| package.id.clone()),
    );
    let nodes = metadata.resolve.as_ref().map(|resolve| resolve.nodes.as_slice()).unwrap_or_default();
    while let Some(id) = left.pop() {
        let Some(node) = nodes.iter().find(|node| node.id == id) else { continue };
        let linked = node
            .deps
            .iter()
            .filter(|one| one.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        left.extend(linked.map(|one| one.pkg.clone()).filter(|id| found.insert(id.clone())));
    }
    found.retain(|id| !ours(id));
    found
}

/// The crates of the programs that a release has.
const PROGRAMS: [&str; 4] =
    ["bellwether", "bellwether-server", "bellwether-gateway", "bellwether-agent-host"];

/// What is linked on other Linux machines is the same.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

const HEAD: &str = "# Code of others\n\nBellwether is under Apache-2.0 OR MIT. Its programs contain the crates below, each \
                    under its own licence; the text of a licence is in the crate's archive at https://crates.io. \
                    mbedtls-rs-sys contains Mbed TLS (Apache-2.0 OR GPL-2.0-or-later, used under Apache-2.0), \
                    libsqlite3-sys contains SQLite (public domain), ring contains code of BoringSSL; \
                    the server's page brings htmx and its extension for events (0BSD).\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_has_what_is_linked_and_nothing_that_only_tests_or_builds_need() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is one level up");
        let text = text(&root.join("Cargo.toml")).expect("the list");
        for linked in ["- tokio ", "- sqlx ", "- mbedtls-rs-sys ", "- rustls "] {
            assert!(text.contains(linked), "{linked}");
        }
        for other in ["- bellwether", "- proptest ", "- clap_mangen ", "- bindgen "] {
            assert!(!text.contains(other), "{other}");
        }
        assert!(!text.contains("see its own files"), "{text}");
    }
}
