//! Who is in it, and what befalls whom.

use crate::firmware::noise;
use crate::process::ProcessError;
use crate::setting::{LAMP, LAMP_BEFORE, Setting, meter_image};

/// A device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: &'static str,
    /// The version that it runs at first.
    pub version: String,
    /// The gateway that it is behind.
    pub gateway: Option<&'static str>,
    /// What befalls it.
    pub fate: Fate,
}

/// What befalls a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Nothing.
    Nothing,
    /// It runs the target before the campaign begins.
    IsCurrent,
    /// It is in queue mode, sleeps when the campaign begins, and hears nothing.
    Sleeps,
    /// It loses its power while it fetches, and is switched on again.
    LosesPower,
    /// Its flash loses what was written, while it fetches.
    SlotIsDamaged,
    /// Its battery is empty while it fetches, and stays so.
    BatteryIsEmpty,
    /// Its new image fails its self-test.
    FailsSelfTest,
    /// Its flash is copied before it asks.
    IsCopied,
    /// It is the copy of the device with this name.
    IsCopyOf(&'static str),
}

impl Fate {
    /// Says it for people.
    #[must_use]
    pub fn text(self) -> String {
        let text = match self {
            Self::Nothing => "-",
            Self::IsCurrent => "ran the target already",
            Self::Sleeps => "slept when the campaign began",
            Self::LosesPower => "lost its power in the middle",
            Self::SlotIsDamaged => "its flash lost bytes of the new image meanwhile",
            Self::BatteryIsEmpty => "its battery was empty in the middle",
            Self::FailsSelfTest => "its new image fails its self-test",
            Self::IsCopied => "was copied",
            Self::IsCopyOf(original) => return format!("is a copy of {original}"),
        };
        text.to_owned()
    }

    /// Gives the point at which its process ends by itself.
    #[must_use]
    pub fn halts_at(self) -> Option<&'static str> {
        match self {
            Self::IsCopied => Some("manifest-stored"),
            // A small delta has one frame.
            Self::LosesPower => Some("frame:0"),
            Self::SlotIsDamaged | Self::BatteryIsEmpty => Some("frame:9"),
            _ => None,
        }
    }
}

impl Member {
    /// Names the image that it runs at first, in the demo's folder.
    #[must_use]
    pub fn image(&self) -> String {
        image(self.class, &self.version)
    }

    /// How its images run: a lamp's and a pump's are programs of this machine.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if matches!(self.class, LAMPS | PUMPS) { "linux" } else { "microcontroller" }
    }

    /// Tells whether it is one of those that are made, and not copied.
    #[must_use]
    pub fn is_original(&self) -> bool {
        !matches!(self.fate, Fate::IsCopyOf(_))
    }
}

/// Lists all: `older`, `previous` and `target` are versions of the meters' firmware.
#[must_use]
pub fn cast([older, previous, target]: [&str; 3]) -> Vec<Member> {
    use Fate::{
        BatteryIsEmpty, FailsSelfTest, IsCopied, IsCopyOf, IsCurrent, LosesPower, Nothing, Sleeps,
        SlotIsDamaged,
    };
    let (first, second) = (Some(GATEWAYS[0]), Some(GATEWAYS[1]));
    let member = |class: &'static str, number: &str, version: &str, gateway, fate| Member {
        name: format!("{class}-{number}"),
        class,
        version: version.to_owned(),
        gateway,
        fate,
    };
    let meter = |number, version, gateway, fate| member(METERS, number, version, gateway, fate);
    let lamp = |number, gateway, fate| member(LAMPS, number, LAMP_BEFORE, gateway, fate);
    let sensor = |number, gateway, fate| member(SENSORS, number, BEFORE, gateway, fate);
    vec![
        lamp("1", None, IsCopied),
        lamp("1′", None, IsCopyOf("lamp-1")),
        lamp("2", None, Nothing),
        lamp("3", first, Nothing),
        lamp("4", second, Nothing),
        meter("1", previous, None, IsCopied),
        meter("1′", previous, None, IsCopyOf("meter-1")),
        meter("2", previous, first, Nothing),
        meter("3", previous, first, Nothing),
        meter("4", previous, first, Nothing),
        meter("5", previous, second, Nothing),
        meter("6", previous, second, Nothing),
        meter("7", older, second, Nothing),
        meter("8", older, second, Nothing),
        meter("9", target, None, IsCurrent),
        meter("10", previous, None, LosesPower),
        meter("11", previous, None, Sleeps),
        meter("12", older, None, Nothing),
        sensor("1", first, Nothing),
        sensor("2", second, Nothing),
        sensor("3", None, BatteryIsEmpty),
        sensor("4", None, SlotIsDamaged),
        sensor("5", None, Nothing),
        member(PUMPS, "1", BEFORE, None, FailsSelfTest),
    ]
}

/// Names an image, in the demo's folder.
#[must_use]
pub fn image(class: &str, version: &str) -> String {
    match class {
        METERS => meter_image(version),
        _ => format!("images/{class}-{version}.bin"),
    }
}

/// Makes the images of the classes that the small demo does not have.
///
/// # Errors
///
/// [`ProcessError::Io`].
pub fn make_images(setting: &mut Setting<'_>) -> Result<(), ProcessError> {
    let sensor = noise(SENSOR_BYTES);
    // No byte as it was: where it stands in a flash, it is the new one.
    let next: Vec<u8> = sensor.iter().map(|byte| byte ^ 0x5a).collect();
    setting.put_image(&sensor, &image(SENSORS, BEFORE), BEFORE)?;
    setting.put_image(&next, &image(SENSORS, TARGET), TARGET)?;
    for (class, version, self_test) in
        [(PUMPS, BEFORE, 0), (PUMPS, TARGET, 1), (LAMPS, LAMP_BEFORE, 0), (LAMPS, LAMP, 0)]
    {
        setting.put_image(&program(class, version, self_test), &image(class, version), version)?;
    }
    Ok(())
}

/// A program of this machine whose self-test ends with a status; filled up, so that it takes a while to fetch.
fn program(class: &str, version: &str, self_test: u8) -> Vec<u8> {
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --self-test ]; then exit {self_test}; fi\n\
         echo \"{class} firmware {version} runs\"\ncat >/dev/null\nexit 0\n# "
    );
    let filling = noise(PROGRAM_BYTES).into_iter().map(|byte| b'a' + byte % 26);
    script.into_bytes().into_iter().chain(filling).collect()
}

/// The version that a campaign brings to a class; `meters` is that of the meters.
#[must_use]
pub fn target_of<'a>(class: &str, meters: &'a str) -> &'a str {
    match class {
        LAMPS => LAMP,
        METERS => meters,
        _ => TARGET,
    }
}

/// How many there are. Beyond it devices share processes.
pub const CROWD: u32 = 24;
/// The classes, in the order of the manifest.
pub const CLASSES: [&str; 4] = [LAMPS, METERS, SENSORS, PUMPS];
/// The gateways.
pub const GATEWAYS: [&str; 2] = ["gateway-1", "gateway-2"];
/// The class whose devices apply no deltas.
pub const SENSORS: &str = "sensor";
/// The class whose firmware comes in many versions.
pub const METERS: &str = "meter";
const LAMPS: &str = "lamp";
const PUMPS: &str = "pump";
/// What sensors and pumps run at first.
const BEFORE: &str = "1.0.0";
/// What the campaign brings them.
const TARGET: &str = "2.0.0";
/// Forty frames: enough to lose power in the middle.
const SENSOR_BYTES: usize = 40_000;
/// Beside the few lines that run.
const PROGRAM_BYTES: usize = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn cast_has_24_devices_four_classes_three_versions_of_meters_two_gateways_and_every_fate() {
        let cast = cast(["1.0", "1.1", "1.2"]);
        assert_eq!(cast.len(), CROWD as usize);
        let names: BTreeSet<_> = cast.iter().map(|one| &one.name).collect();
        assert_eq!(names.len(), 24);
        let classes: BTreeSet<_> = cast.iter().map(|one| one.class).collect();
        assert_eq!(classes, CLASSES.into());
        let meters = cast.iter().filter(|one| one.class == METERS);
        let versions: BTreeSet<_> = meters.map(|one| one.version.as_str()).collect();
        assert_eq!(versions.len(), 3);
        let gateways: BTreeSet<_> = cast.iter().filter_map(|one| one.gateway).collect();
        assert_eq!(gateways, GATEWAYS.into());
        let copies = cast.iter().filter(|one| matches!(one.fate, Fate::IsCopyOf(_))).count();
        let originals = cast.iter().filter(|one| one.fate == Fate::IsCopied).count();
        assert_eq!((copies, originals), (2, 2));
        for fate in [
            Fate::IsCurrent,
            Fate::Sleeps,
            Fate::LosesPower,
            Fate::SlotIsDamaged,
            Fate::BatteryIsEmpty,
            Fate::FailsSelfTest,
        ] {
            assert_eq!(cast.iter().filter(|one| one.fate == fate).count(), 1, "{fate:?}");
        }
    }
}
