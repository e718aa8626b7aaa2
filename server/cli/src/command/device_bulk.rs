//! `bellwether device import` and `device export`: devices in bulk.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bellwether_api::{
    CheckImport, ErrorCode, ExportPage, ImportFaults, ImportRow, ImportState, ImportedUnit, ListDevices,
    StageImport, UnitPage, UnitsReceived,
};
use bellwether_keys::unit::UnitData;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Serialize;

use crate::client::{Client, percent_encoded};
use crate::device_list::{self, DeviceList, Fault, Format};
use crate::failure::Failure;
use crate::file::{self, Access};
use crate::output::Output;

/// What to import.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The list; - reads standard input
    file: PathBuf,
    /// How it is written [default: by its name and first character]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Folder for the unit files; made with mode 0700 where it is missing
    #[arg(long, value_name = "DIR", default_value = "units")]
    units: PathBuf,
    /// Name of the import: the same one again goes on where it ended [default: by what the list says]
    #[arg(long = "import-id", value_name = "ID")]
    id: Option<String>,
}

/// What to export.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// How to write it
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Only devices with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Where to write [default: standard output]
    #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    out: PathBuf,
}

/// What came of an import.
#[derive(Debug, Serialize)]
struct Imported {
    /// Name of the import.
    import: String,
    /// Devices of the list.
    devices: u64,
    /// Unit files that were written or found written now.
    unit_files: u64,
    /// Devices whose unit file is no longer given, since they have another seed.
    in_use: Vec<String>,
    /// Whether nothing was done but to look.
    dry_run: bool,
}

/// Enrols the devices of a list and writes their unit files.
///
/// # Errors
///
/// [`Failure`] names the lines; then nobody was enrolled.
pub(crate) async fn import(asked: &Import, client: &Client, output: Output) -> Result<(), Failure> {
    let list = device_list::read(&asked.file, asked.format)?;
    let id = asked.id.clone().unwrap_or_else(|| hex::encode(&list.content[..8]));
    let path = format!("/v1/imports/{}", percent_encoded(&id));
    let known = known(client, &path).await?;
    if let Some(state) = &known {
        is_of(&list, state)?;
    }
    if known.as_ref().is_none_or(|state| state.committed.is_none()) {
        check(&asked.file, &list, client, output).await?;
    }
    let devices = list.rows.len() as u64;
    let mut done =
        Imported { import: id, devices, unit_files: 0, in_use: Vec::new(), dry_run: asked.dry_run };
    if !asked.dry_run {
        private_folder(&asked.units)?;
        let state = enrol(&list, known, &path, client, output).await?;
        receive(&asked.units, &path, state.due, &mut done, (client, output)).await?;
    }
    output.print(&done, |done| told(done, &asked.units));
    Ok(())
}

fn told(done: &Imported, folder: &Path) -> String {
    let Imported { import, devices, unit_files, in_use, dry_run } = done;
    if *dry_run {
        return format!("{devices} devices can be enrolled; nothing was done");
    }
    let mut text = format!(
        "Enrolled {devices} devices (import {import}). {unit_files} unit files: {}",
        folder.display()
    );
    if *unit_files == 0 {
        text.push_str("\nAll unit files were received before; they are not given again.");
    }
    let in_use =
        in_use.iter().map(|name| format!("\n{name} has another seed since, so it has its unit file"));
    text.extend(in_use);
    text
}

async fn known(client: &Client, path: &str) -> Result<Option<ImportState>, Failure> {
    match client.get(path).await {
        Ok(state) => Ok(Some(state)),
        Err(Failure::Refused(body)) if body.code == ErrorCode::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Makes sure that what the server has under the name of an import came from this list: else its lines would be taken for
/// those that were sent before, and what it has be enrolled instead.
fn is_of(list: &DeviceList, state: &ImportState) -> Result<(), Failure> {
    if state.content == hex::encode(list.content) {
        return Ok(());
    }
    let text = format!("the import {} is of another list; choose another --import-id", state.id);
    Err(Failure::Usage(text))
}

/// Has the server look at all lines before any is sent to stay.
async fn check(file: &Path, list: &DeviceList, client: &Client, output: Output) -> Result<(), Failure> {
    let bar = bar("checked", list.rows.len() as u64, output);
    let mut faults = Vec::new();
    for rows in list.rows.chunks(ROWS_AT_A_TIME) {
        let asked = CheckImport { rows: rows.to_vec() };
        let found: ImportFaults = client.post("/v1/imports/check", &asked).await?;
        faults.extend(found.faults.into_iter().map(|one| Fault { line: one.line, reason: one.reason }));
        bar.inc(rows.len() as u64);
    }
    bar.finish_and_clear();
    if faults.is_empty() { Ok(()) } else { Err(device_list::told(file, &faults)) }
}

/// Sends the lines that have not come yet, and has all enrolled.
async fn enrol(
    list: &DeviceList,
    known: Option<ImportState>,
    path: &str,
    client: &Client,
    output: Output,
) -> Result<ImportState, Failure> {
    let content = hex::encode(list.content);
    if let Some(state) = known.as_ref().filter(|state| state.committed.is_some()) {
        return Ok(state.clone());
    }
    let staged_to = known.map_or(0, |state| state.staged_to);
    let missing: Vec<&ImportRow> = list.rows.iter().filter(|row| row.line > staged_to).collect();
    let bar = bar("sent", list.rows.len() as u64, output);
    bar.set_position((list.rows.len() - missing.len()) as u64);
    for rows in missing.chunks(ROWS_AT_A_TIME) {
        let rows: Vec<ImportRow> = rows.iter().map(|row| (*row).clone()).collect();
        let sent = rows.len() as u64;
        let asked = StageImport { content: content.clone(), lines: list.rows.len() as u64, rows };
        let _: ImportState = client.send_json(Method::PUT, &format!("{path}/rows"), &asked).await?;
        bar.inc(sent);
    }
    bar.finish_and_clear();
    client.post(&format!("{path}/commit"), &serde_json::json!({})).await
}

/// Fetches unit files, a page at a time: each is on disk before its receipt is given.
async fn receive(
    folder: &Path,
    path: &str,
    due: u64,
    done: &mut Imported,
    (client, output): (&Client, Output),
) -> Result<(), Failure> {
    let bar = bar("unit files", due, output);
    loop {
        let page: UnitPage = client.get(&format!("{path}/units?limit={UNITS_AT_A_TIME}")).await?;
        let Some(last) = page.units.last() else { break };
        for one in &page.units {
            if write(folder, one)? {
                done.unit_files += 1;
            } else {
                done.in_use.push(one.endpoint.clone());
            }
        }
        file::sync_folder(folder);
        let received = UnitsReceived { up_to: last.line };
        let _: ImportState = client.post(&format!("{path}/received"), &received).await?;
        bar.inc(page.units.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Writes a unit file in place of one for the same device that is there already, from a time before this broke off: no
/// receipt was given for that one, and the server's address or anchors may be others since. `false`: there is none.
fn write(folder: &Path, one: &ImportedUnit) -> Result<bool, Failure> {
    let Some(unit) = &one.unit else { return Ok(false) };
    let path = folder.join(format!("{}.unit", percent_encoded(&one.endpoint)));
    let unit = zeroize::Zeroizing::new(hex::decode(unit).map_err(|error| Failure::file(&path, error))?);
    if path.exists() {
        let kept =
            zeroize::Zeroizing::new(std::fs::read(&path).map_err(|error| Failure::file(&path, error))?);
        if *kept == *unit {
            return Ok(true);
        }
        if is_of_one_device(&kept, &unit) {
            file::replace_unsynced(&path, &unit, Access::Secret)?;
            return Ok(true);
        }
        let text = "is there already and holds something else; move it away, then run this again: what was received \
                    is not lost";
        return Err(Failure::file(&path, text));
    }
    file::write_new_unsynced(&path, &unit, Access::Secret)?;
    Ok(true)
}

/// Tells whether two unit files have the same name and seed: they came of one enrolment then.
fn is_of_one_device(one: &[u8], other: &[u8]) -> bool {
    let (Ok(one), Ok(other)) = (UnitData::decode(one), UnitData::decode(other)) else { return false };
    (one.id, one.epoch, one.seed) == (other.id, other.epoch, other.seed)
}

/// Makes a folder that its owner alone can look into, or makes sure that it is one.
fn private_folder(path: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::file(path, error);
    match std::fs::metadata(path) {
        Ok(kept) if !kept.is_dir() => Err(Failure::file(path, "is no folder")),
        Ok(kept) if kept.permissions().mode() & 0o077 != 0 => Err(Failure::file(
            path,
            "can be looked into by others; chmod 700 it, since unit files are secret",
        )),
        Ok(_) => Ok(()),
        Err(_) => DirBuilder::new().mode(0o700).create(path).map_err(failed),
    }
}

/// Writes the devices as a list that an import takes.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn export(asked: Export, client: &Client) -> Result<(), Failure> {
    let mut which = ListDevices { limit: Some(1_000), tag: asked.tag, ..ListDevices::default() };
    let mut list = device_list::header(asked.format).into_bytes();
    loop {
        let page: ExportPage = client.post("/v1/commands/devices/export", &which).await?;
        list.extend(device_list::written(&page.devices, asked.format));
        match page.next {
            Some(next) => which.after = Some(next),
            None => return file::write_output(&asked.out, &list, Access::Public),
        }
    }
}

fn bar(what: &'static str, length: u64, output: Output) -> ProgressBar {
    let bar = match output {
        Output::Text => ProgressBar::new(length),
        Output::Json => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("{prefix:<10} [{bar:30}] {human_pos}/{human_len}  {per_sec}");
    // The template is a constant; were it wrong, the bar would look otherwise and nothing else.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(what);
    bar
}

/// As many as the server takes in one request.
const ROWS_AT_A_TIME: usize = 1_000;

/// Unit files in one answer: what is fetched again where a connection breaks.
const UNITS_AT_A_TIME: u32 = 500;

#[cfg(test)]
mod tests {
    use bellwether_keys::chain::ChainLength;
    use bellwether_keys::seed::Seed;
    use bellwether_manifests::message::List;

    use super::*;

    fn unit(server: &str, seed: u8) -> ImportedUnit {
        let servers = [server];
        let unit = UnitData {
            id: "lamp-1",
            epoch: 0,
            chain_length: ChainLength::DEFAULT,
            seed: Seed::new([seed; 32]),
            anchors: b"anchors",
            dtls_identity: "lamp-1",
            dtls_psk: &[seed; 32],
            servers: List::new(&servers),
            gateways: List::default(),
        };
        let bytes = unit.encode().expect("a unit file");
        ImportedUnit { line: 2, endpoint: "lamp-1".to_owned(), unit: Some(hex::encode(&*bytes)) }
    }

    fn kept(folder: &Path) -> String {
        hex::encode(std::fs::read(folder.join("lamp-1.unit")).expect("there"))
    }

    #[test]
    fn file_that_was_not_received_is_replaced_where_the_server_moved_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let (before, after) = (unit("coaps://old.example", 1), unit("coaps://new.example", 1));
        assert!(write(folder.path(), &before).expect("written"));
        assert!(write(folder.path(), &after).expect("replaced"));
        assert_eq!(Some(kept(folder.path())), after.unit);
        let mode = std::fs::metadata(folder.path().join("lamp-1.unit")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1);
    }

    #[test]
    fn file_with_another_seed_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (strange, new) = (unit("coaps://old.example", 1), unit("coaps://old.example", 2));
        assert!(write(folder.path(), &strange).expect("written"));
        let refused = write(folder.path(), &new).expect_err("another enrolment").to_string();
        assert!(refused.contains("move it away"), "{refused}");
        assert_eq!(Some(kept(folder.path())), strange.unit);
    }

    #[test]
    fn import_of_another_list_is_not_gone_on_with() {
        let list = DeviceList { rows: Vec::new(), content: [1; 32] };
        let state = |content: [u8; 32]| ImportState {
            id: "spring".to_owned(),
            content: hex::encode(content),
            lines: 9,
            staged: 9,
            staged_to: 10,
            committed: None,
            due: 0,
        };
        assert!(is_of(&list, &state([1; 32])).is_ok());
        let refused = is_of(&list, &state([2; 32])).expect_err("another list").to_string();
        assert!(refused.contains("--import-id"), "{refused}");
    }
}
