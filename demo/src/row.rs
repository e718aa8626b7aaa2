//! A row of the closing table: what a device ran, asked, got, cost and runs.

use std::ops::AddAssign;

use crate::table::Column;

/// An image, as a device said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// Version, where it is known.
    pub version: String,
    /// SHA-256 in hexadecimal.
    pub digest: String,
}

/// What a device was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Got {
    /// The whole image.
    Full {
        /// Bytes as carried.
        bytes: u64,
    },
    /// A delta.
    Delta {
        /// What it builds on.
        base: Image,
        /// Bytes as carried.
        bytes: u64,
        /// Bytes of the full image, where a ratio means something.
        of: Option<u64>,
    },
}

/// Who gave a device its frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Served {
    /// Nobody.
    Nobody,
    /// The server.
    Server,
    /// Its gateway.
    Gateway,
    /// Its gateway, while the server could not be reached.
    GatewayAlone,
}

/// Update requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// How many.
    pub requests: u32,
    /// Key index of the newest.
    pub index: Option<u16>,
}

/// Bytes of UDP payload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// In, without handshakes.
    pub bytes_in: u64,
    /// Out, without handshakes.
    pub bytes_out: u64,
    /// Handshakes, in.
    pub handshake_in: u64,
    /// Handshakes, out.
    pub handshake_out: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
        self.handshake_in += more.handshake_in;
        self.handshake_out += more.handshake_out;
    }
}

/// One device at the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// Name in the table.
    pub device: String,
    /// What it ran before.
    pub ran: Image,
    /// What it asked.
    pub asked: Asked,
    /// What it was given.
    pub got: Option<Got>,
    /// Who gave it.
    pub served: Served,
    /// What that cost.
    pub traffic: Traffic,
    /// Whether it speaks CoAP without DTLS.
    pub is_plain: bool,
    /// What it runs now.
    pub runs: Image,
    /// What its program said last, where it is one.
    pub said: Option<String>,
    /// Whether it was refused for good.
    pub refused: bool,
    /// Object 5's Update Result.
    pub result: u8,
    /// Why it did not update, in words.
    pub why_not: Option<String>,
}

impl Row {
    /// Writes its cells, in the order of [`COLUMNS`].
    #[must_use]
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        let said = self.said.as_ref().map(|said| format!("\n\"{said}\"")).unwrap_or_default();
        [
            self.device.clone(),
            self.ran.version.clone(),
            self.asked.text(),
            self.got.as_ref().map_or_else(|| "nothing".to_owned(), Got::text),
            self.served.text().to_owned(),
            both(self.traffic.bytes_in, self.traffic.bytes_out),
            self.handshake(),
            format!("{}{said}", self.runs.version),
            self.why_not.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

impl Row {
    fn handshake(&self) -> String {
        if self.is_plain {
            return "none:\nplain CoAP".to_owned();
        }
        both(self.traffic.handshake_in, self.traffic.handshake_out)
    }
}

fn both(bytes_in: u64, bytes_out: u64) -> String {
    format!("{} in\n{} out", grouped(bytes_in), grouped(bytes_out))
}

impl Asked {
    fn text(self) -> String {
        let Some(index) = self.index else { return "nothing".to_owned() };
        match self.requests {
            1 => format!("once,\nat key index {index}"),
            requests => format!("{requests} times,\nat key index {index}"),
        }
    }
}

impl Got {
    fn text(&self) -> String {
        match self {
            Self::Full { bytes } => format!("full image,\n{} B", grouped(*bytes)),
            Self::Delta { base, bytes, of } => {
                let share = of.map(|of| format!("\n= {} of the full image", percent(*bytes, of)));
                let share = share.unwrap_or_default();
                format!("delta from {},\n{} B{share}", base.version, grouped(*bytes))
            }
        }
    }
}

impl Served {
    /// Names it for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Nobody => "-",
            Self::Server => "server",
            Self::Gateway => "gateway",
            Self::GatewayAlone => "gateway,\nserver away",
        }
    }
}

/// Digits in groups of three: `118,968`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share with one decimal, rounded to nearest.
fn percent(part: u64, whole: u64) -> String {
    let per_mille = (part * 1_000 + whole / 2) / whole.max(1);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

/// The columns of the closing table.
pub const COLUMNS: [Column; 9] = [
    Column { head: "DEVICE", width: 10 },
    Column { head: "RAN", width: 10 },
    Column { head: "ASKED", width: 26 },
    Column { head: "GOT", width: 26 },
    Column { head: "SERVED BY", width: 12 },
    Column { head: "UDP BYTES", width: 14 },
    Column { head: "HANDSHAKE", width: 12 },
    Column { head: "RUNS NOW", width: 28 },
    Column { head: "WHY NOT", width: 26 },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn row(got: Got) -> Row {
        let image = |version: &str| Image { version: version.to_owned(), digest: version.to_owned() };
        Row {
            device: "meter-4".to_owned(),
            ran: image("1.0"),
            asked: Asked { requests: 1, index: Some(0) },
            got: Some(got),
            served: Served::GatewayAlone,
            traffic: Traffic { bytes_in: 1_234, bytes_out: 5, handshake_in: 6, handshake_out: 7 },
            is_plain: false,
            runs: image("1.1"),
            said: Some("it shines".to_owned()),
            refused: false,
            result: 1,
            why_not: None,
        }
    }

    #[test]
    fn cells_tell_base_share_who_served_and_what_the_program_said() {
        let base = Image { version: "1.0".to_owned(), digest: "d".to_owned() };
        let cells = row(Got::Delta { base, bytes: 12_345, of: Some(100_000) }).cells();
        assert_eq!(cells[3], "delta from 1.0,\n12,345 B\n= 12.3 % of the full image");
        assert_eq!(cells[4], "gateway,\nserver away");
        assert_eq!(cells[5], "1,234 in\n5 out");
        assert_eq!(cells[7], "1.1\n\"it shines\"");
    }

    #[test]
    fn device_without_dtls_is_told_as_such_where_others_have_their_handshake() {
        let secured = row(Got::Full { bytes: 1 });
        assert_eq!(secured.cells()[6], "6 in\n7 out");
        assert_eq!(Row { is_plain: true, ..secured }.cells()[6], "none:\nplain CoAP");
    }

    #[test]
    fn delta_of_images_that_were_made_up_has_no_ratio() {
        let base = Image { version: "1.0".to_owned(), digest: "d".to_owned() };
        let cells = row(Got::Delta { base, bytes: 12_345, of: None }).cells();
        assert_eq!(cells[3], "delta from 1.0,\n12,345 B");
    }
}
