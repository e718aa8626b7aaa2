//! The table of all targets: what is fed, how much of it, and what it starts from.

#[cfg(feature = "services")]
use crate::{backup, door, dormant, dtls, gateway, json, store};
use crate::{cbor, coap, delta, delta_modes, flash, image, lwm2m, manifest, message, sealed, vector};

/// One parser, or one walk over several, and what must hold for it.
pub struct Target {
    /// Name of its corpus, and of it on the command line.
    pub name: &'static str,
    /// Reads hostile bytes and asserts.
    pub run: fn(&[u8]),
    /// Real messages to start from; reads the vectors of other crates.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Longest input tried, in bytes: somewhat more than what the product takes where that is small.
    pub bytes_max: usize,
    /// Words of its language, where guessing them takes long.
    pub words: &'static [&'static str],
}

macro_rules! target {
    ($name:literal, $run:expr, $seeds:expr, $bytes_max:expr) => {
        target!($name, $run, $seeds, $bytes_max, &[])
    };
    ($name:literal, $run:expr, $seeds:expr, $bytes_max:expr, $words:expr) => {
        Target { name: $name, run: $run, seeds: $seeds, bytes_max: $bytes_max, words: $words }
    };
}

/// Every target.
pub static TARGETS: &[Target] = &[
    target!("coap_message", coap::message, coap::message_seeds, 1400),
    target!("coap_sequence", coap::sequence, coap::sequence_seeds, 4096),
    target!("coap_pair", coap::pair, coap::pair_seeds, 256),
    target!("cbor_item", cbor::item, cbor::item_seeds, 2048),
    target!("suit_envelope", manifest::envelope, vector::envelopes, 4096),
    target!("suit_signed", manifest::signed, manifest::signed_seeds, 4096),
    target!("suit_report", manifest::suit_report, manifest::suit_report_seeds, 1024),
    target!("definition", manifest::definition, manifest::definition_seeds, 1024),
    target!("cose", manifest::cose, manifest::cose_seeds, 2048),
    target!("anchors", manifest::anchors, manifest::anchors_seeds, 4096),
    target!("frames", manifest::frames, manifest::frames_seeds, 4096),
    target!("request", message::request, || vector::update("request"), 2048),
    target!("selector", message::selector, || vector::update("selector"), 1024),
    target!("descriptor", message::descriptor, || vector::update("descriptor"), 2048),
    target!("grant", message::grant, || vector::update("grant"), 2048),
    target!("verdict", message::verdict, || vector::update("verdict"), 1024),
    target!("report", message::report, || vector::update("report"), 2048),
    target!("receipt", message::receipt, || vector::update("receipt"), 256),
    target!("answer", message::answer, || vector::update("answer"), 2048),
    target!("bundle", message::bundle, || vector::update("bundle"), 4096),
    target!("gateway_unit", message::gateway_unit, message::gateway_unit_seeds, 1024),
    target!("children", message::children, message::children_seeds, 1024),
    target!("hints", message::hints, message::hints_seeds, 1024),
    target!("unit", message::unit, message::unit_seeds, 1024),
    target!("opened", sealed::opened, sealed::opened_seeds, 2048),
    target!("reported", sealed::reported, sealed::reported_seeds, 1024),
    target!("unwrapped", sealed::unwrapped, sealed::unwrapped_seeds, 512),
    target!("delta_hostile", delta::hostile, delta::hostile_seeds, 4096),
    target!("delta_honest", delta::honest, delta::honest_seeds, 4096),
    target!("delta_in_place", delta_modes::in_place, delta_modes::in_place_seeds, 4096),
    target!("delta_checkpoint", delta_modes::checkpoint, delta_modes::checkpoint_seeds, 4096),
    target!("delta_change", delta_modes::change, delta_modes::change_seeds, 2048),
    target!("lwm2m_body", lwm2m::body, lwm2m::body_seeds, 2048),
    target!("tlv_structure", lwm2m::tlv_structure, lwm2m::body_seeds, 2048),
    target!("text", lwm2m::text, lwm2m::text_seeds, 512),
    target!(
        "links",
        lwm2m::links,
        lwm2m::links_seeds,
        2048,
        &["rt=\"oma.lwm2m\"", ";ct=", ";ver=1.1", "</", ">,<", "\\\"", ";dim="]
    ),
    target!(
        "queries",
        lwm2m::queries,
        lwm2m::queries_seeds,
        512,
        &["ep=", "lt=", "lwm2m=1.", "b=UQ", "&Q", "sms=+", "UTSNH"]
    ),
    target!("path", lwm2m::path, lwm2m::path_seeds, 64, &["65535", "65534", "/0"]),
    target!("record", flash::record, flash::record_seeds, 4096),
    target!("boot", flash::boot, flash::boot_seeds, 300),
    target!("journal", flash::journal, flash::journal_seeds, 6000),
    #[cfg(feature = "services")]
    target!("dtls_strangers", dtls::strangers, dtls::strangers_seeds, 2048),
    #[cfg(feature = "services")]
    target!("dtls_dormant", dormant::dormant, dormant::dormant_seeds, 1024),
    #[cfg(feature = "services")]
    target!("gateway_kept", gateway::kept, gateway::kept_seeds, 4096),
    #[cfg(feature = "services")]
    target!("gateway_bundle", gateway::bundle, gateway::bundle_seeds, 6000),
    #[cfg(feature = "services")]
    target!("identity", store::identity, store::identity_seeds, 4096),
    #[cfg(feature = "services")]
    target!("values", store::values, store::values_seeds, 2048, JSON_WORDS),
    #[cfg(feature = "services")]
    target!("backup", backup::backup, backup::backup_seeds, 8192, BACKUP_WORDS),
    #[cfg(feature = "services")]
    target!("mqtt_message", door::message, door::message_seeds, 2048, JSON_WORDS),
    #[cfg(feature = "services")]
    target!("command", json::command, json::command_seeds, 2048, JSON_WORDS),
    #[cfg(feature = "services")]
    target!("http_body", json::body, json::body_seeds, 2048, JSON_WORDS),
    target!("image_file", image::file, image::file_seeds, 4096),
];

#[cfg(feature = "services")]
/// Names of a backup's files, and what else stands in a tar file.
const BACKUP_WORDS: &[&str] =
    &["bellwether.db", "http.token", "backup.json", "images/", "../", "ustar", "path="];

#[cfg(feature = "services")]
/// Fields of the JSON types.
const JSON_WORDS: &[&str] = &[
    "\"request_id\":",
    "\"manifest\":",
    "\"targets\":",
    "\"classes\":",
    "\"endpoints\":",
    "\"policy\":",
    "\"in_flight_max\":",
    "\"failure_per_mille_max\":",
    "\"failure_sample_min\":",
    "\"reseed\":",
    "\"ask_go\":",
    "\"campaign\":",
    "\"who\":",
    "\"why\":",
    "\"endpoint\":",
    "\"after\":",
    "\"limit\":",
    "\"all\"",
    "\"version\":",
    "\"what\":",
    "\"kind\":",
    "\"at\":",
    "\"device\":",
    "null",
    "true",
    "false",
    "18446744073709551615",
    "1e309",
    "\\ud800",
];

impl Target {
    /// Finds a target.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Runs one input, cut to what is tried.
    pub fn feed(&self, data: &[u8]) {
        (self.run)(&data[..data.len().min(self.bytes_max)]);
    }
}
