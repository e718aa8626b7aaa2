//! Releases: images by class with what lies between them, manifests in plain words, and the launch of a campaign.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_api::{
    AskWhoRuns, LaunchCampaign, Manifest, ManifestClass, Policy, RecallRelease, Release, RunningDevice,
    Targets, WhoRuns,
};
use serde::Deserialize;
use serde_json::json;

use super::Page;
use super::frame::{Failed, Frame, html};
use super::visitor::{Order, Own, Sent, Visitor};
use super::words;
use crate::caller;
use crate::commands::dispatch::Verb;
use crate::commands::watch::Sizes;
use crate::refusal::Refusal;

#[derive(Template)]
#[template(path = "releases.html")]
struct ListPage {
    frame: Frame,
    manifests: Vec<Short>,
    matrices: Vec<Matrix>,
}

/// A manifest in the list.
struct Short {
    digest: String,
    sequence: u64,
    brings: String,
    published: String,
    ago: String,
}

/// What lies between the versions of a component.
struct Matrix {
    class: String,
    component: String,
    versions: Vec<VersionLink>,
    rows: Vec<MatrixRow>,
    is_one: bool,
}

/// A version, with the page of its release.
struct VersionLink {
    name: String,
    path: String,
    is_recalled: bool,
}

struct MatrixRow {
    name: String,
    cells: Vec<Cell>,
}

/// Bytes to fetch, and how they compare to the whole image.
struct Cell {
    text: String,
    heat: &'static str,
    note: String,
}

/// Lists manifests and images.
pub(super) async fn list(visitor: Visitor, State(page): State<Arc<Page>>) -> Response {
    let both = async {
        let manifests = page.core.manifests().await?;
        Ok::<_, Refusal>((manifests, page.core.delta_sizes().await?))
    };
    match both.await {
        Ok((manifests, sizes)) => {
            let now = page.core.now();
            let manifests = manifests.iter().take(MANIFESTS_SHOWN).map(|one| Short::of(one, now)).collect();
            let matrices = sizes.iter().map(Matrix::of).collect();
            html(StatusCode::OK, &ListPage { frame: Frame::new(&visitor, "releases"), manifests, matrices })
        }
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

impl Short {
    fn of(manifest: &Manifest, now: u64) -> Self {
        let brings: Vec<String> = manifest.classes.iter().map(brought).collect();
        Self {
            digest: manifest.digest.clone(),
            sequence: manifest.sequence_number,
            brings: brings.join(", "),
            published: words::time(manifest.published),
            ago: words::ago(now, manifest.published),
        }
    }
}

/// What a manifest brings to a class.
fn brought(class: &ManifestClass) -> String {
    let version = class.version.clone().unwrap_or_else(|| words::short(&class.digest).to_owned());
    format!("{} {version}", class.class)
}

impl Matrix {
    fn of(sizes: &Sizes) -> Self {
        let mut rows = vec![MatrixRow {
            name: "whole image".to_owned(),
            cells: sizes.versions.iter().map(|(_, bytes)| Cell::whole(*bytes)).collect(),
        }];
        for (from, (name, _)) in sizes.versions.iter().enumerate() {
            let cells = sizes.versions.iter().zip(&sizes.deltas).enumerate();
            let cells = cells.map(|(to, ((_, whole), deltas))| {
                let made = deltas.iter().find(|(base, _)| *base == from).map(|(_, bytes)| *bytes);
                Cell::of(made, *whole, from == to)
            });
            rows.push(MatrixRow { name: format!("from {name}"), cells: cells.collect() });
        }
        Self {
            class: sizes.class.clone(),
            component: sizes.component.clone(),
            versions: sizes.versions.iter().map(|(name, _)| VersionLink::of(sizes, name)).collect(),
            is_one: sizes.versions.len() == 1,
            rows,
        }
    }
}

impl VersionLink {
    fn of(sizes: &Sizes, version: &str) -> Self {
        Self {
            path: path(&sizes.class, &sizes.component, version),
            is_recalled: sizes.recalled.iter().any(|one| one == version),
            name: version.to_owned(),
        }
    }
}

/// Where the page of a release is.
fn path(class: &str, component: &str, version: &str) -> String {
    let [class, component, version] = [class, component, version].map(words::segment);
    format!("/releases/{class}/{component}/{version}")
}

impl Cell {
    fn whole(bytes: u64) -> Self {
        Self { text: words::bytes(bytes), heat: "whole", note: String::new() }
    }

    fn of(made: Option<u64>, whole: u64, is_same: bool) -> Self {
        match made {
            None if is_same => {
                Self { text: "–".to_owned(), heat: "same", note: "the same version".to_owned() }
            }
            None => {
                let note = "not made yet: it is made when the first device asks for it".to_owned();
                Self { text: "·".to_owned(), heat: "unmade", note }
            }
            Some(bytes) => Self {
                text: words::bytes(bytes),
                heat: heat(bytes, whole),
                note: format!("{} of the whole image", words::share(bytes, whole)),
            },
        }
    }
}

/// Names the colour of a delta in the style sheet: the smaller, the greener.
fn heat(bytes: u64, whole: u64) -> &'static str {
    match bytes.saturating_mul(100) / whole.max(1) {
        0..=4 => "h0",
        5..=14 => "h1",
        15..=34 => "h2",
        35..=69 => "h3",
        _ => "h4",
    }
}

#[derive(Template)]
#[template(path = "manifest.html")]
struct ManifestPage {
    frame: Frame,
    manifest: Manifest,
    version: Option<String>,
    sentences: Vec<String>,
    published: String,
    size: String,
    classes: Vec<ClassRow>,
    request_id: String,
}

struct ClassRow {
    name: String,
    version: String,
    size: String,
    digest: String,
}

/// Shows a manifest in plain words, with the form that launches a campaign for it.
pub(super) async fn show(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Path(digest): Path<String>,
) -> Response {
    match page.core.watched_manifest(&digest).await {
        Ok(watched) => {
            let manifest = watched.manifest;
            let row = |class: &ManifestClass| ClassRow {
                name: class.class.clone(),
                version: class.version.clone().unwrap_or_else(|| "not catalogued".to_owned()),
                size: words::bytes(class.size),
                digest: class.digest.clone(),
            };
            let shown = ManifestPage {
                frame: Frame::new(&visitor, "releases"),
                version: watched.version,
                sentences: watched.sentences,
                published: words::time(manifest.published),
                size: words::bytes(manifest.size),
                classes: manifest.classes.iter().map(row).collect(),
                request_id: caller::drawn(&*page.core.machine),
                manifest,
            };
            html(StatusCode::OK, &shown)
        }
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage {
    frame: Frame,
    release: Release,
    path: String,
    size: String,
    published: String,
    recalled: Option<String>,
    total: String,
    devices: Vec<RunsRow>,
    first: Option<String>,
    next: Option<String>,
    request_id: String,
}

/// A device that runs a release.
struct RunsRow {
    endpoint: String,
    path: String,
    since: String,
}

/// The name of a release in its path: class, component, version.
type Named = (String, String, String);

/// Where the list of devices begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    after: Option<String>,
}

/// Shows a release and who runs it, with the forms that recall it and take that back.
pub(super) async fn release(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Path((class, component, version)): Path<Named>,
    Query(asked): Query<After>,
) -> Response {
    let path = path(&class, &component, &version);
    let asked = AskWhoRuns {
        request_id: None,
        class,
        component,
        version,
        after: asked.after.filter(|name| !name.is_empty()),
        limit: Some(RUNS_SHOWN),
    };
    match page.core.who_runs(&asked).await {
        Ok(found) => {
            html(StatusCode::OK, &ReleasePage::of(&page, &visitor, path, asked.after.is_none(), found))
        }
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

impl ReleasePage {
    fn of(page: &Page, visitor: &Visitor, path: String, is_first: bool, found: WhoRuns) -> Self {
        let now = page.core.now();
        let row = |device: RunningDevice| RunsRow {
            path: words::segment(&device.endpoint),
            endpoint: device.endpoint,
            since: words::ago(now, device.since),
        };
        Self {
            frame: Frame::new(visitor, "releases"),
            size: words::bytes(found.release.size),
            published: words::time(found.release.published),
            recalled: found.release.recalled.map(words::time),
            total: words::count(found.total),
            devices: found.devices.into_iter().map(row).collect(),
            first: (!is_first).then(|| path.clone()),
            next: found.next.map(|next| format!("{path}?after={}", words::segment(&next))),
            request_id: caller::drawn(&*page.core.machine),
            release: found.release,
            path,
        }
    }
}

/// What the forms of a release say.
#[derive(Debug, Deserialize)]
pub(super) struct RecallForm {
    form_token: String,
    request_id: String,
    #[serde(default)]
    why: String,
}

impl Own for RecallForm {
    fn form_token(&self) -> &str {
        &self.form_token
    }
}

/// Recalls a release or reinstates it, as the verb of that name does everywhere, and shows it.
pub(super) async fn order(
    State(page): State<Arc<Page>>,
    Path((class, component, version, order)): Path<(String, String, String, String)>,
    Order(Sent { visitor, form }): Order<RecallForm>,
) -> Response {
    let verb = Verb::find("releases", &order).filter(|verb| verb.is_change && ORDERS.contains(&verb.name));
    let Some(verb) = verb else {
        return Failed::new(StatusCode::NOT_FOUND, "There is no such order.").answer(&visitor);
    };
    let back = path(&class, &component, &version);
    let asked = RecallRelease {
        request_id: form.request_id,
        class,
        component,
        version,
        why: form.why.trim().to_owned(),
        who: visitor.session.who.clone(),
    };
    match verb.carry_out(&page.core, json!(asked).to_string().as_bytes()).await {
        Ok(_) => Redirect::to(&back).into_response(),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

/// What the form of a launch says; a field that is left empty says nothing.
#[derive(Debug, Deserialize)]
pub(super) struct LaunchForm {
    form_token: String,
    request_id: String,
    #[serde(default)]
    class: String,
    #[serde(default)]
    devices: String,
    #[serde(default)]
    tags: String,
    #[serde(default)]
    at_most: String,
    #[serde(default)]
    abort_percent: String,
    #[serde(default)]
    abort_after: String,
    #[serde(default)]
    why: String,
}

impl Own for LaunchForm {
    fn form_token(&self) -> &str {
        &self.form_token
    }
}

/// Launches a campaign, as the verb does everywhere, and shows it.
pub(super) async fn launch(
    State(page): State<Arc<Page>>,
    Path(digest): Path<String>,
    Order(Sent { visitor, form }): Order<LaunchForm>,
) -> Response {
    let launched = async {
        let asked = wish(digest, &visitor, form)?;
        let verb =
            Verb::find("campaigns", "launch").ok_or_else(|| Refusal::not_found("there is no such verb"))?;
        let reply = verb.carry_out(&page.core, json!(asked).to_string().as_bytes()).await?;
        Ok::<_, Refusal>(reply["id"].as_str().unwrap_or_default().to_owned())
    };
    match launched.await {
        Ok(id) => Redirect::to(&format!("/campaigns/{}", words::segment(&id))).into_response(),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

/// Puts a form as the command that it stands for.
fn wish(manifest: String, visitor: &Visitor, form: LaunchForm) -> Result<LaunchCampaign, Refusal> {
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let parted = |text: &str| text.split([',', '\n', ' ', '\r']).filter_map(some).collect();
    let per_cent: Option<u16> = number("how many per cent may fail", &form.abort_percent)?;
    Ok(LaunchCampaign {
        request_id: form.request_id,
        manifest,
        targets: Targets {
            classes: some(&form.class).into_iter().collect(),
            endpoints: parted(&form.devices),
            tags: parted(&form.tags),
        },
        policy: Policy {
            at_most: number("how many devices at a time", &form.at_most)?,
            abort_failed_per_mille: per_cent.map(|per_cent| per_cent.saturating_mul(10)),
            abort_sample_min: number("after how many devices", &form.abort_after)?,
            ..Policy::default()
        },
        who: visitor.session.who.clone(),
        why: some(&form.why),
    })
}

fn number<T: std::str::FromStr>(what: &str, text: &str) -> Result<Option<T>, Refusal> {
    match text.trim() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Refusal::invalid(format!("{what}: {text:?} is no number that fits"))),
    }
}

/// The orders that the page of a release has.
const ORDERS: [&str; 2] = ["recall", "reinstate"];

/// Devices in a page of those that run a release.
const RUNS_SHOWN: u32 = 50;

/// Manifests in the list: the highest sequence numbers.
const MANIFESTS_SHOWN: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrix_has_a_row_for_whole_images_and_one_for_each_version_to_come_from() {
        let sizes = Sizes {
            class: "lamp".into(),
            component: "app".into(),
            versions: vec![("2.0".into(), 1_000), ("1.0".into(), 900)],
            recalled: vec!["1.0".into()],
            deltas: vec![vec![(1, 40)], vec![]],
        };
        let matrix = Matrix::of(&sizes);
        let texts: Vec<Vec<&str>> =
            matrix.rows.iter().map(|row| row.cells.iter().map(|cell| cell.text.as_str()).collect()).collect();
        assert_eq!(texts, [vec!["1.0 kB", "900 B"], vec!["–", "·"], vec!["40 B", "–"]]);
        assert_eq!(matrix.rows[2].cells[0].heat, "h0");
        assert_eq!(matrix.versions[1].path, "/releases/lamp/app/1.0");
        assert_eq!(matrix.versions.iter().map(|one| one.is_recalled).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn field_that_is_left_empty_says_nothing_and_nonsense_is_named() {
        assert_eq!(number::<u32>("x", " ").expect("nothing"), None);
        assert_eq!(number::<u32>("x", " 12 ").expect("a number"), Some(12));
        assert!(
            number::<u16>("how many per cent", "-3")
                .is_err_and(|refused| refused.message.starts_with("how many"))
        );
    }
}
