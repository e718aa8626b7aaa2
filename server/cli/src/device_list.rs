//! Lists of devices in files: CSV with a header, or a JSON object a line.
//!
//! A list is read whole before anything is sent: whatever is wrong with it is told with its line, and nothing was done.

use std::collections::HashMap;
use std::path::Path;

use bellwether_api::{ImportRow, ListedDevice, Security};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::file;

/// How a list is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Comma- or semicolon-separated, with a header
    Csv,
    /// A JSON object a line
    Jsonl,
}

/// A list of devices, and the digest that names it.
pub(crate) struct DeviceList {
    pub(crate) rows: Vec<ImportRow>,
    pub(crate) content: [u8; 32],
}

/// What is wrong with a line.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// Reads a list from a file, or from standard input where the path is `-`; without a format, by the name and the first
/// character.
///
/// # Errors
///
/// [`Failure::File`] names the first lines that are wrong.
pub(crate) fn read(path: &Path, format: Option<Format>) -> Result<DeviceList, Failure> {
    let bytes = file::read_at_most(path, FILE_BYTES_MAX)?;
    let text = bytes.strip_prefix(BOM).unwrap_or(&bytes);
    if [&[0xFF, 0xFE][..], &[0xFE, 0xFF]].iter().any(|mark| text.starts_with(mark)) {
        return Err(Failure::file(path, "is UTF-16; save it as UTF-8"));
    }
    let format = format.unwrap_or_else(|| guessed(path, text));
    let read = match too_long(text) {
        Some(fault) => Err(vec![fault]),
        None => match format {
            Format::Csv => csv_rows(text),
            Format::Jsonl => json_rows(text),
        },
    };
    let rows = read.and_then(|rows| match twice(&rows) {
        faults if faults.is_empty() => Ok(rows),
        faults => Err(faults),
    });
    let rows = rows.map_err(|faults| told(path, &faults))?;
    match rows.len() as u64 {
        0 => Err(Failure::file(path, "names no device")),
        count if count > ROWS_MAX => Err(Failure::file(
            path,
            format!("names {count} devices; at most {ROWS_MAX} are taken in one import"),
        )),
        _ => Ok(DeviceList { content: content(&rows), rows }),
    }
}

/// Says what is wrong with a list, the first lines of it.
pub(crate) fn told(path: &Path, faults: &[Fault]) -> Failure {
    let shown = faults.iter().take(FAULTS_SHOWN).map(|one| format!("line {}: {}", one.line, one.reason));
    let mut lines: Vec<String> = shown.collect();
    if faults.len() > FAULTS_SHOWN {
        lines.push(format!("and {} more", faults.len() - FAULTS_SHOWN));
    }
    Failure::file(path, format!("nothing was imported\n  {}", lines.join("\n  ")))
}

fn guessed(path: &Path, text: &[u8]) -> Format {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    match (ending.as_str(), text.trim_ascii_start().first()) {
        ("csv", _) => Format::Csv,
        ("jsonl" | "ndjson" | "json", _) | (_, Some(b'{')) => Format::Jsonl,
        _ => Format::Csv,
    }
}

fn too_long(text: &[u8]) -> Option<Fault> {
    let lines = text.split(|byte| *byte == b'\n');
    let (at, line) = lines.enumerate().find(|(_, line)| line.len() > LINE_BYTES_MAX)?;
    let reason = format!("has {} bytes; at most {LINE_BYTES_MAX} are read", line.len());
    Some(Fault { line: at as u64 + 1, reason })
}

fn json_rows(text: &[u8]) -> Result<Vec<ImportRow>, Vec<Fault>> {
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for (line, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<ListedDevice>(bytes) {
            Ok(device) => rows.push(ImportRow { line, device }),
            // Its own line number is that within the line.
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
                faults.push(Fault { line, reason });
            }
        }
    }
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}

fn csv_rows(text: &[u8]) -> Result<Vec<ImportRow>, Vec<Fault>> {
    let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // As spreadsheets write it where the comma stands in numbers.
    let delimiter = if header.contains(&b';') && !header.contains(&b',') { b';' } else { b',' };
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text);
    let mut records = reader.byte_records();
    let columns = match records.next() {
        None => return Err(vec![Fault { line: 1, reason: format!("there is no header: {HEADER}") }]),
        Some(record) => Columns::read(&record.map_err(|error| vec![csv_fault(&error)])?)?,
    };
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let mut counter = LineCounter { text, at: 0, line: 1 };
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                faults.push(csv_fault(&error));
                continue;
            }
        };
        let line = counter.line_at(record.position().map_or(0, csv::Position::byte));
        match columns.device(&record) {
            Ok(device) => rows.push(ImportRow { line, device }),
            Err(reason) => faults.push(Fault { line, reason }),
        }
    }
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}

/// Counts lines up to records. The reader's own count is one behind where lines end with two characters.
struct LineCounter<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl LineCounter<'_> {
    /// Gives the line of the record that is found from this byte on; records come in their order.
    fn line_at(&mut self, byte: u64) -> u64 {
        let from = usize::try_from(byte).unwrap_or(usize::MAX).min(self.text.len());
        let blank = self.text[from..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let end = (from + blank).max(self.at);
        self.line += self.text[self.at..end].split(|byte| *byte == b'\n').count() as u64 - 1;
        self.at = end;
        self.line
    }
}

fn csv_fault(error: &csv::Error) -> Fault {
    Fault { line: error.position().map_or(0, csv::Position::line), reason: error.to_string() }
}

/// Which field of a record is what.
struct Columns {
    names: Vec<String>,
}

impl Columns {
    fn read(header: &csv::ByteRecord) -> Result<Self, Vec<Fault>> {
        let fault = |reason| vec![Fault { line: 1, reason }];
        let mut names: Vec<String> = Vec::new();
        for field in header {
            let name = text(field).map_err(fault)?.to_lowercase();
            if !COLUMNS.contains(&name.as_str()) {
                return Err(fault(format!("there is no column {name:?}: {HEADER}")));
            }
            if names.contains(&name) {
                return Err(fault(format!("the column {name} stands there twice")));
            }
            names.push(name);
        }
        for needed in ["endpoint", "class"] {
            if !names.iter().any(|name| name == needed) {
                return Err(fault(format!("the column {needed} is missing: {HEADER}")));
            }
        }
        Ok(Self { names })
    }

    fn device(&self, record: &csv::ByteRecord) -> Result<ListedDevice, String> {
        if record.len() != self.names.len() {
            return Err(format!("has {} fields, the header has {}", record.len(), self.names.len()));
        }
        let mut fields: HashMap<&str, &str> = HashMap::new();
        for (name, field) in self.names.iter().zip(record) {
            fields.insert(name, text(field).map_err(|reason| format!("{name}: {reason}"))?);
        }
        let field = |name: &str| fields.get(name).copied().filter(|value| !value.is_empty());
        let security = match field("security") {
            None | Some("psk") => Security::Psk,
            Some("none") => Security::None,
            Some(other) => return Err(format!("security: {other:?} is neither psk nor none")),
        };
        let number = |value: &str| value.parse().map_err(|_| format!("chain_length: {value:?} is no number"));
        Ok(ListedDevice {
            endpoint: field("endpoint").ok_or("endpoint: is empty")?.to_owned(),
            class: field("class").ok_or("class: is empty")?.to_owned(),
            security,
            gateway: field("gateway").map(str::to_owned),
            chain_length: field("chain_length").map(number).transpose()?,
            tags: field("tags").into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect(),
        })
    }
}

fn text(field: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(field).map_err(|_| "is not UTF-8; save the file as UTF-8".to_owned())?;
    Ok(text.trim())
}

/// Names that stand in the list more than once.
fn twice(rows: &[ImportRow]) -> Vec<Fault> {
    let mut first: HashMap<&str, u64> = HashMap::with_capacity(rows.len());
    let mut faults = Vec::new();
    for row in rows {
        if let Some(line) = first.get(row.device.endpoint.as_str()) {
            let reason = format!("{} stands in line {line} already", row.device.endpoint);
            faults.push(Fault { line: row.line, reason });
        } else {
            first.insert(&row.device.endpoint, row.line);
        }
    }
    faults
}

/// Names a list by what it says, however it is written.
fn content(rows: &[ImportRow]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for row in rows {
        // Our wire types have text keys and finite numbers alone, so each has a JSON form.
        hash.update(serde_json::to_vec(row).unwrap_or_default());
        hash.update(b"\n");
    }
    hash.finalize().into()
}

/// Writes devices as lines of a list, without its header.
pub(crate) fn written(devices: &[ListedDevice], format: Format) -> Vec<u8> {
    match format {
        Format::Jsonl => {
            let line = |device| serde_json::to_string(device).unwrap_or_default() + "\n";
            devices.iter().map(line).collect::<String>().into_bytes()
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for device in devices {
                let length = device.chain_length.map(|length| length.to_string()).unwrap_or_default();
                let security = match device.security {
                    Security::Psk => "psk",
                    Security::None => "none",
                };
                let gateway = device.gateway.as_deref().unwrap_or_default();
                let tags = device.tags.join(" ");
                let record = [&device.endpoint, &device.class, security, gateway, &length, &tags];
                // Writing into memory has no way to fail.
                writer.write_record(record).unwrap_or_default();
            }
            writer.into_inner().unwrap_or_default()
        }
    }
}

/// The header of a list in CSV, in the order of [`written`].
pub(crate) fn header(format: Format) -> String {
    match format {
        Format::Csv => COLUMNS.join(",") + "\n",
        Format::Jsonl => String::new(),
    }
}

/// Columns of a list; the first two are needed.
const COLUMNS: [&str; 6] = ["endpoint", "class", "security", "gateway", "chain_length", "tags"];

/// The same, as a person is told.
const HEADER: &str = "the columns are endpoint, class and, where wanted, security, gateway, chain_length, tags (separated by blanks)";

/// What Windows programs put before UTF-8.
const BOM: &[u8] = &[0xEF, 0xBB, 0xBF];

/// Bytes of a line: every field at its longest, and quotes.
const LINE_BYTES_MAX: usize = 4_096;

/// Bytes of a list: a million devices with long names and many tags.
const FILE_BYTES_MAX: u64 = 256 * 1_024 * 1_024;

/// Devices that the server takes in one import.
const ROWS_MAX: u64 = 1_000_000;

/// Faults that are shown: a screen.
const FAULTS_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> Result<Vec<ImportRow>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        read(&path, None).map(|list| list.rows).map_err(|failure| failure.to_string())
    }

    #[test]
    fn list_is_the_same_however_a_spreadsheet_has_written_it() {
        let plain =
            of("a.csv", b"endpoint,class,tags\nlamp-1,lamp,roof ring=1\n\"lamp-2\",lamp,\n").expect("read");
        let windows = of(
            "a.csv",
            b"\xEF\xBB\xBFEndpoint;Class;Tags\r\nlamp-1;lamp;roof ring=1\r\nlamp-2;\"lamp\";\r\n",
        );
        // Were the lines counted by the reader, they would be one behind here.
        assert_eq!(windows.expect("read"), plain);
        assert_eq!((plain[0].line, plain[1].line), (2, 3));
        assert_eq!(plain[0].device.tags, ["roof", "ring=1"]);
        let lines = concat!(
            "{\"endpoint\":\"lamp-1\",\"class\":\"lamp\",\"tags\":[\"roof\",\"ring=1\"]}\n",
            "\n{\"endpoint\":\"lamp-2\",\"class\":\"lamp\"}\n"
        );
        let lines = of("a.txt", lines.as_bytes()).expect("read");
        assert_eq!(
            lines.iter().map(|row| &row.device).collect::<Vec<_>>(),
            plain.iter().map(|row| &row.device).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let mut long = b"endpoint,class\n".to_vec();
        for line in 2..70_000 {
            long.extend_from_slice(format!("lamp-{line},lamp\n").as_bytes());
        }
        long.extend_from_slice(b"lamp-x,lamp,too,many\nlamp-y,\r\n\r\n\"lamp\nz\",\n");
        let said = of("a.csv", &long).expect_err("refused");
        assert!(said.contains("line 70000: has 4 fields, the header has 2"), "{said}");
        assert!(said.contains("line 70001: class: is empty"), "{said}");
        assert!(said.contains("line 70003: class: is empty"), "{said}");
        for (bytes, part) in [
            (&b"endpoint,class\nl\xE4mp,lamp\n"[..], "line 2: endpoint: is not UTF-8"),
            (b"\xFF\xFEe\0n\0", "is UTF-16"),
            (b"endpoint\nlamp-1\n", "the column class is missing"),
            (b"endpoint,class,colour\n", "there is no column \"colour\""),
            (b"endpoint,class,class\n", "stands there twice"),
            (b"endpoint,class\na,lamp\nb,lamp\na,lamp\n", "line 4: a stands in line 2 already"),
            (b"endpoint,class,chain_length\na,lamp,many\n", "line 2: chain_length: \"many\" is no number"),
            (b"endpoint,class,security\na,lamp,tls\n", "line 2: security: \"tls\""),
            (b"endpoint,class\n", "names no device"),
            (b"", "there is no header"),
        ] {
            let said = of("a.csv", bytes).expect_err("refused");
            assert!(said.contains(part), "{said}");
        }
        let said =
            of("a.jsonl", b"{\"endpoint\":\"a\",\"class\":\"b\"}\n{\"endpoint\":\"c\",\"clas\":\"d\"}\n");
        assert!(said.expect_err("refused").contains("line 2: unknown field `clas`"));
        let endless = [&b"endpoint,class\n"[..], &[b'x'; LINE_BYTES_MAX + 1]].concat();
        assert!(of("a.csv", &endless).expect_err("refused").contains("line 2: has 4097 bytes"));
    }

    #[test]
    fn what_is_written_is_read_back_in_both_forms() {
        let device = ListedDevice {
            endpoint: "la\"mp,1".to_owned(),
            class: "street lamp".to_owned(),
            security: Security::Psk,
            gateway: Some("gw-1".to_owned()),
            chain_length: Some(64),
            tags: vec!["roof".to_owned(), "ring=1".to_owned()],
        };
        for (format, name) in [(Format::Csv, "a.csv"), (Format::Jsonl, "a.jsonl")] {
            let bytes =
                [header(format).into_bytes(), written(std::slice::from_ref(&device), format)].concat();
            assert_eq!(of(name, &bytes).expect("read")[0].device, device);
        }
    }
}
