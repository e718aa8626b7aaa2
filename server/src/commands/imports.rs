//! Devices in bulk: lists that are enrolled at once, their unit files until these were received, and lists of what there
//! is.
//!
//! A list comes in pieces, and keys are made as the pieces come. One commit then enrols all or none. From then on each
//! unit file is due until its receipt: an answer that is lost is given again, one that was received never.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bellwether_api as api;
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::device::{Device, Endpoint};
use bellwether_decide::identity::IdentityState;
use bellwether_decide::tag::Tag;
use bellwether_keys::chain::ChainLength;
use bellwether_store::device::{EnrolledDevice, NewIdentity};
use bellwether_store::error::StoreError;
use bellwether_store::gateway::GatewayLink;
use bellwether_store::import::{
    Committed, Import, ImportCommit, LineFault, StageError, StagedDevice, StagedName, UnitDue,
};

use super::devices::{UnitParts, chain_length, endpoint, row_security};
use super::digest;
use super::fleet::tag;
use super::gateways::CHILDREN_MAX;
use super::releases::named;
use super::request::{check_request_id, limit};
use crate::caller;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::vault::{LINK_KEY, Vault};

/// A row whose fields are what they must be.
struct Row {
    line: u64,
    endpoint: Endpoint,
    class: String,
    security: api::Security,
    gateway: Option<Endpoint>,
    length: ChainLength,
    tags: Vec<Tag>,
}

impl Core {
    /// Tells which lines could not be enrolled, and why; nothing is written.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for more rows than are taken at a time.
    pub async fn check_import(&self, asked: &api::CheckImport) -> Result<api::ImportFaults, Refusal> {
        bounded(&asked.rows)?;
        let fault = |line, reason| api::ImportFault { line, reason };
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        for row in &asked.rows {
            match self.row(row) {
                Ok(row) => rows.push(row),
                Err(refusal) => faults.push(fault(row.line, refusal.message)),
            }
        }
        let names: Vec<Endpoint> = rows.iter().map(|row| row.endpoint.clone()).collect();
        let taken = self.store.devices_named(&self.tenant, &names).await.map_err(Refusal::internal)?;
        let taken: BTreeSet<Endpoint> = taken.into_iter().map(|one| one.device.endpoint).collect();
        for row in &rows {
            if taken.contains(&row.endpoint) || self.gateways.named(row.endpoint.as_str()).is_some() {
                faults.push(fault(row.line, told(&LineFault::Taken(row.endpoint.clone()))));
            }
            let missing = row.gateway.as_ref().filter(|name| self.gateways.named(name.as_str()).is_none());
            faults.extend(missing.map(|name| fault(row.line, told(&LineFault::NoGateway(name.clone())))));
        }
        faults.sort_by_key(|fault| fault.line);
        Ok(api::ImportFaults { faults })
    }

    /// Keeps a piece of a list, with keys for each of its devices.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] names the line; [`Refusal::conflict`] for another list under this id.
    pub async fn stage_import(
        &self,
        id: &str,
        asked: &api::StageImport,
    ) -> Result<api::ImportState, Refusal> {
        check_request_id(id)?;
        bounded(&asked.rows)?;
        if !(1..=IMPORT_LINES_MAX).contains(&asked.lines) {
            return Err(Refusal::invalid(format!("lines: 1 to {IMPORT_LINES_MAX} devices are taken")));
        }
        let content = digest(&asked.content)?;
        self.anchors_document().await?;
        let now = self.now();
        self.forget_stale_imports().await.map_err(Refusal::internal)?;
        let mut staged = Vec::with_capacity(asked.rows.len());
        for piece in self.pieces(&asked.rows).await? {
            staged.extend(piece);
        }
        let kept = self.store.stage_import(&self.tenant, id, &content, asked.lines, &staged, now).await;
        kept.map_err(|error| not_staged(id, error))?;
        self.import(id).await
    }

    /// Forgets imports that nobody has committed for a day, with the keys made for them.
    pub(crate) async fn forget_stale_imports(&self) -> Result<(), StoreError> {
        let stale = self.now().saturating_sub(STAGED_KEPT_S);
        self.store.forget_imports(&self.tenant, stale).await.map(drop)
    }

    /// Makes the keys of rows, a few pieces at a time beside everything else.
    async fn pieces(&self, rows: &[api::ImportRow]) -> Result<Vec<Vec<StagedDevice>>, Refusal> {
        let mut vendors = BTreeMap::new();
        let mut read = Vec::with_capacity(rows.len());
        for row in rows {
            let row = self.row(row).map_err(|refusal| at_line(row.line, &refusal.message))?;
            if !vendors.contains_key(&row.class) {
                vendors.insert(row.class.clone(), hex::encode(self.class(&row.class).await?.vendor));
            }
            read.push(row);
        }
        let (vendors, now) = (Arc::new(vendors), self.now());
        let mut work = Vec::new();
        while !read.is_empty() {
            let piece: Vec<Row> = read.drain(..read.len().min(ROWS_A_PIECE)).collect();
            let (vault, vendors) = (Arc::clone(&self.vault), Arc::clone(&vendors));
            let machine = Arc::clone(&self.machine);
            let make = move || {
                let vendor = |class: &str| vendors.get(class).cloned().unwrap_or_default();
                let staged = |row: Row| {
                    let vendor = vendor(&row.class);
                    row.staged(&vault, vendor, now)
                };
                piece.into_iter().map(staged).collect::<Result<Vec<_>, _>>()
            };
            work.push(tokio::spawn(async move { machine.beside(make).await }));
        }
        let mut made = Vec::with_capacity(work.len());
        for piece in work {
            made.push(piece.await.map_err(Refusal::internal)?.map_err(Refusal::internal)??);
        }
        Ok(made)
    }

    /// Checks the fields of a row.
    fn row(&self, row: &api::ImportRow) -> Result<Row, Refusal> {
        let api::ListedDevice { endpoint: name, class, security, gateway, chain_length: length, tags } =
            &row.device;
        named("class", class)?;
        if *security == api::Security::None && self.config.coap.is_none() {
            return Err(Refusal::invalid("plain UDP is off here: start the server with --coap ADDRESS"));
        }
        if *security == api::Security::None && gateway.is_some() {
            return Err(Refusal::invalid("a device without a key can't have a gateway: their link is DTLS"));
        }
        if tags.len() > bellwether_decide::tag::TAGS_MAX {
            return Err(Refusal::invalid(format!("{} tags are too many for one device", tags.len())));
        }
        Ok(Row {
            line: row.line,
            endpoint: endpoint(name)?,
            class: class.clone(),
            security: *security,
            gateway: gateway.as_deref().map(endpoint).transpose()?,
            length: chain_length(*length)?,
            tags: tags.iter().map(|text| tag("tags", text)).collect::<Result<_, _>>()?,
        })
    }

    /// Shows how far an import is.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn import(&self, id: &str) -> Result<api::ImportState, Refusal> {
        let found = self.store.import(&self.tenant, id).await.map_err(Refusal::internal)?;
        Ok(shown(id, &found.ok_or_else(|| missing(id))?))
    }

    /// Enrols all devices of an import, or none; once.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] names the lines that can't be enrolled.
    pub async fn commit_import(self: &Arc<Self>, id: &str) -> Result<api::ImportState, Refusal> {
        let (core, id) = (Arc::clone(self), id.to_owned());
        // Gateways are told of their devices once these are written: also where nobody waits for the answer any more.
        let work = async move { core.committed(&id).await };
        caller::to_the_end(work).await.map_err(Refusal::internal)?
    }

    async fn committed(&self, id: &str) -> Result<api::ImportState, Refusal> {
        let kept = self.store.import(&self.tenant, id).await.map_err(Refusal::internal)?;
        let kept = kept.ok_or_else(|| missing(id))?;
        if kept.committed_at.is_some() {
            return Ok(shown(id, &kept));
        }
        let names = self.all_staged(id).await?;
        // The ledger and the gateways are told by these names: a row that comes from here on must not be enrolled unheard.
        if (names.len() as u64) < kept.lines {
            return Err(incomplete(names.len() as u64, kept.lines));
        }
        self.refuse_full_gateways(&names)?;
        let events = self.import_events(id, &names);
        let state = IdentityState::new(0);
        let commit = ImportCommit { at: self.now(), state: &state, events: &events };
        match self.store.commit_import(&self.tenant, id, commit).await.map_err(Refusal::internal)? {
            Committed::New => {
                self.metrics.recorded(&events);
                tracing::info!(import = id, devices = names.len(), "devices were enrolled");
                self.list_children(&names);
            }
            Committed::Before => {}
            Committed::Incomplete { staged, lines } => {
                return Err(incomplete(staged, lines));
            }
            Committed::Faults(faults) => {
                let each = |(line, fault): &(u64, LineFault)| format!("line {line}: {}", told(fault));
                let lines: Vec<String> = faults.iter().map(each).collect();
                return Err(Refusal::conflict(format!("nobody was enrolled: {}", lines.join("; "))));
            }
            Committed::Missing => return Err(missing(id)),
        }
        self.import(id).await
    }

    async fn all_staged(&self, id: &str) -> Result<Vec<StagedName>, Refusal> {
        let mut names: Vec<StagedName> = Vec::new();
        loop {
            let after = names.last().map_or(0, |last| last.line);
            let page = self.store.staged(&self.tenant, id, after, PAGE).await.map_err(Refusal::internal)?;
            if page.is_empty() {
                return Ok(names);
            }
            names.extend(page);
        }
    }

    fn refuse_full_gateways(&self, names: &[StagedName]) -> Result<(), Refusal> {
        let mut added: BTreeMap<&Endpoint, usize> = BTreeMap::new();
        for gateway in names.iter().filter_map(|one| one.gateway.as_ref()) {
            *added.entry(gateway).or_default() += 1;
        }
        let is_full =
            |(name, more): &(&Endpoint, usize)| self.gateways.children_count(name) + more > CHILDREN_MAX;
        match added.into_iter().find(is_full) {
            Some((name, more)) => Err(Refusal::conflict(format!(
                "nobody was enrolled: {name} would list {} devices, at most {CHILDREN_MAX} are allowed",
                self.gateways.children_count(name) + more
            ))),
            None => Ok(()),
        }
    }

    /// What the ledger gets: that the list was enrolled, and each device of it.
    fn import_events(&self, id: &str, names: &[StagedName]) -> Vec<Event> {
        let (at, by) = (self.now(), caller::by(None, None));
        let done = |device, deed| {
            let kind = EventKind::Done { deed, by: by.clone() };
            Event { at, campaign: None, device, kind }
        };
        let devices = names.len() as u64;
        let whole = done(None, Deed::DevicesImported { import: id.to_owned(), devices });
        let each = names.iter().map(|one| {
            let gateway = one.gateway.as_ref().map(Endpoint::to_string);
            done(Some(one.endpoint.clone()), Deed::DeviceEnrolled { class: one.class.clone(), gateway })
        });
        std::iter::once(whole).chain(each).collect()
    }

    fn list_children(&self, names: &[StagedName]) {
        let mut changed = BTreeSet::new();
        for one in names {
            if let Some(gateway) = &one.gateway {
                self.gateways.attach(gateway, one.endpoint.clone());
                changed.insert(gateway);
            }
        }
        for gateway in changed {
            self.tell_children_changed(gateway);
        }
    }

    /// Gives unit files that were not received yet, by line; the same again until they were.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::invalid`] for a page that can't be.
    pub async fn import_units(&self, id: &str, rows_max: Option<u32>) -> Result<api::UnitPage, Refusal> {
        let rows_max = limit(rows_max)?;
        self.import(id).await?;
        let due = self.store.units_due(&self.tenant, id, 0, rows_max).await.map_err(Refusal::internal)?;
        let anchors = self.anchors_document().await?;
        let mut uris: BTreeMap<Endpoint, String> = BTreeMap::new();
        let mut units = Vec::with_capacity(due.len());
        for one in &due {
            if let Some(link) = &one.device.link
                && !uris.contains_key(&link.gateway)
            {
                let row = self.store.gateway(&self.tenant, &link.gateway).await.map_err(Refusal::internal)?;
                uris.extend(row.map(|row| (row.name, row.uri)));
            }
            let endpoint = one.device.device.endpoint.to_string();
            units.push(api::ImportedUnit {
                line: one.line,
                endpoint,
                unit: self.unit_due(one, &anchors, &uris)?,
            });
        }
        Ok(api::UnitPage { units })
    }

    fn unit_due(
        &self,
        due: &UnitDue,
        anchors: &[u8],
        uris: &BTreeMap<Endpoint, String>,
    ) -> Result<Option<String>, Refusal> {
        let Some(sealed) = &due.seed else { return Ok(None) };
        let name = due.device.device.endpoint.as_str();
        let seed = self.vault.factory_seed(name, sealed).map_err(Refusal::internal)?;
        let psk = self.vault.psk_of(name, &due.device.security).map_err(Refusal::internal)?;
        let link = match &due.device.link {
            Some(link) => {
                let key = self.vault.key_of(LINK_KEY, name, &link.psk).map_err(Refusal::internal)?;
                uris.get(&link.gateway).map(|uri| (uri.as_str(), key))
            }
            None => None,
        };
        let parts = UnitParts {
            endpoint: &due.device.device.endpoint,
            chain_length: chain_length(Some(due.chain_length))?,
            seed: &seed,
            psk: &psk,
            gateway: link.as_ref().map(|(uri, key)| (*uri, &**key)),
        };
        self.unit(&parts, anchors).map(Some)
    }

    /// Takes the receipt of unit files: they are not given again.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn units_received(
        &self,
        id: &str,
        asked: api::UnitsReceived,
    ) -> Result<api::ImportState, Refusal> {
        self.import(id).await?;
        // No line has a number that a column can't hold.
        let up_to = asked.up_to.min(i64::MAX.unsigned_abs());
        let done = self.store.units_received(&self.tenant, id, up_to).await;
        let count = done.map_err(Refusal::internal)?;
        tracing::info!(import = id, count, "unit files were received");
        self.import(id).await
    }

    /// Lists a page of devices as an import takes them, without those that were decommissioned.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a page that can't be.
    pub async fn export_page(&self, asked: &api::ListDevices) -> Result<api::ExportPage, Refusal> {
        let limit = limit(asked.limit)?;
        let after = asked.after.as_deref().map(endpoint).transpose()?;
        let of = asked.tag.as_deref().map(|text| tag("tag", text)).transpose()?;
        let rows = self.device_rows(of.as_ref(), after.as_ref(), limit).await?;
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map(|last| last.device.endpoint.to_string());
        let names: Vec<Endpoint> = rows.iter().map(|row| row.device.endpoint.clone()).collect();
        let tags = self.store.tags_of(&self.tenant, &names).await.map_err(Refusal::internal)?;
        let lengths = self.store.chain_lengths(&self.tenant, &names).await.map_err(Refusal::internal)?;
        let listed = |row: &EnrolledDevice| {
            let name = &row.device.endpoint;
            api::ListedDevice {
                endpoint: name.to_string(),
                class: row.device.class.clone(),
                security: super::devices::security_of(row),
                gateway: row.link.as_ref().map(|link| link.gateway.to_string()),
                chain_length: lengths.get(name).copied(),
                tags: tags.get(name).into_iter().flatten().map(Tag::to_string).collect(),
            }
        };
        let devices = rows.iter().filter(|row| row.retired_at.is_none()).map(listed).collect();
        Ok(api::ExportPage { devices, next })
    }
}

impl Row {
    /// Makes the keys of the device.
    fn staged(self, vault: &Vault, vendor: String, now: u64) -> Result<StagedDevice, Refusal> {
        let name = self.endpoint.as_str();
        let secrets = vault.new_secrets(name, self.length).map_err(Refusal::internal)?;
        let link = match self.gateway {
            Some(gateway) => {
                let link = vault.new_link(LINK_KEY, name).map_err(Refusal::internal)?;
                Some(GatewayLink { gateway, psk: link.sealed })
            }
            None => None,
        };
        let security = row_security(self.security, &secrets);
        let identity = NewIdentity {
            id: self.endpoint.clone(),
            chain_length: self.length.get(),
            seed: secrets.sealed_seed,
            links: secrets.sealed_links,
            state: IdentityState::new(0),
        };
        let device = Device { endpoint: self.endpoint, class: self.class, enabled: true, added_at: now };
        let device = EnrolledDevice {
            device,
            vendor,
            security,
            link,
            credential: 1,
            next_credential: None,
            retired_at: None,
        };
        Ok(StagedDevice { line: self.line, device, identity, tags: self.tags })
    }
}

fn bounded(rows: &[api::ImportRow]) -> Result<(), Refusal> {
    if rows.is_empty() || rows.len() > ROWS_MAX {
        let text = format!("rows: 1 to {ROWS_MAX} are taken at a time, not {}", rows.len());
        return Err(Refusal::invalid(text));
    }
    if let Some(row) = rows.iter().find(|row| row.line > LINE_MAX) {
        return Err(Refusal::invalid(format!("line: at most {LINE_MAX}, not {}", row.line)));
    }
    let rises = rows.windows(2).all(|pair| pair[0].line < pair[1].line);
    if rises { Ok(()) } else { Err(Refusal::invalid("rows: their lines must rise")) }
}

fn at_line(line: u64, message: &str) -> Refusal {
    Refusal::invalid(format!("line {line}: {message}"))
}

fn told(fault: &LineFault) -> String {
    match fault {
        LineFault::Taken(name) => format!("a device or a gateway named {name} is enrolled already"),
        LineFault::NoGateway(name) => {
            format!("no gateway named {name} is enrolled; see `bellwether gateway list`")
        }
    }
}

fn not_staged(id: &str, error: StageError) -> Refusal {
    match error {
        StageError::OtherContent => {
            Refusal::conflict(format!("the import {id} is of another list; choose another id for this one"))
        }
        StageError::Committed => {
            Refusal::conflict(format!("the devices of the import {id} are enrolled already"))
        }
        StageError::Twice => {
            Refusal::conflict("a name is in the list twice, or a line has another name than before")
        }
        other => Refusal::internal(other),
    }
}

fn incomplete(staged: u64, lines: u64) -> Refusal {
    Refusal::conflict(format!("{staged} of {lines} devices have come; nobody is enrolled before all have"))
}

fn missing(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "there is no import {id}, or it was not committed within a day and is forgotten"
    ))
}

fn shown(id: &str, import: &Import) -> api::ImportState {
    api::ImportState {
        id: id.to_owned(),
        content: hex::encode(import.content),
        lines: import.lines,
        staged: import.staged,
        staged_to: import.staged_to,
        committed: import.committed_at,
        due: import.due,
    }
}

/// Rows of one request: half a megabyte of JSON, and a commit of a few milliseconds.
const ROWS_MAX: usize = 1_000;

/// Number of a line: of a list of so many devices with as many empty lines and notes between any two of them.
const LINE_MAX: u64 = 1_000_000_000;

/// Rows whose keys are made in one go: some ten milliseconds of work.
const ROWS_A_PIECE: usize = 125;

/// Devices of one import: a fleet of any size in sight; their rows take about 1.2 kB each until they are committed.
const IMPORT_LINES_MAX: u64 = 1_000_000;

/// How long rows are kept that nobody commits: a day, in which a person comes back to what broke off.
const STAGED_KEPT_S: u64 = 86_400;

/// Rows read at a time.
const PAGE: u32 = 1_000;
