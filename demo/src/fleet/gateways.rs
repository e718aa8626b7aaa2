//! The gateways that most devices of the fleet are behind.

use super::cast;
use super::figures::Cost;
use crate::console::Console;
use crate::folder::DataFolder;
use crate::gateway::{Gateway, Served};
use crate::process::ProcessError;
use crate::setting::free_port;

/// All of them, running.
#[derive(Debug)]
pub struct Gateways {
    devices: u32,
    all: Vec<Gateway>,
}

/// What they have served and cost, all together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// What they served.
    pub served: Served,
    /// What they cost, where the system tells.
    pub cost: Option<Cost>,
}

impl Gateways {
    /// Enrols and starts as many as so many devices need.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn start(console: &Console, folder: &DataFolder, devices: u32) -> Result<Self, ProcessError> {
        let start = |number| {
            let (name, at) = (cast::gateway(number), free_port()?);
            let unit = format!("devices/{name}.unit");
            console.run(&format!("bellwether gateway add {name} --uri coaps://{at} --out {unit}"))?;
            Gateway::start(console, folder, &name, at, ACK_TIMEOUT_MS)
        };
        let all = (1..=cast::gateways(devices)).map(start).collect::<Result<_, _>>()?;
        Ok(Self { devices, all })
    }

    /// Waits until each hears the server and all its devices.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn wait_ready(&mut self) -> Result<(), ProcessError> {
        let devices = self.devices;
        for (number, gateway) in (1..).zip(&mut self.all) {
            let name = Some(cast::gateway(number));
            let children = (1..=devices).filter(|device| cast::gateway_of(*device, devices) == name).count();
            gateway.wait_ready(children)?;
            println!("  gateway-{number} hears the server and {children} devices.");
        }
        Ok(())
    }

    /// Tells how many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Makes sure that none has ended.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`].
    pub fn are_on(&mut self) -> Result<(), ProcessError> {
        self.all.iter_mut().try_for_each(|gateway| gateway.is_on("all were there"))
    }

    /// Adds up what they have served and cost by now.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn totals(&mut self) -> Result<Totals, ProcessError> {
        let mut totals = Totals { cost: Some(Cost::default()), ..Totals::default() };
        for gateway in &mut self.all {
            totals.served += gateway.served()?;
            totals.cost = totals.cost.zip(Cost::of(gateway.id())).map(|(all, one)| all + one);
        }
        Ok(totals)
    }
}

/// CoAP's own: the machine is busy, and nobody cuts the line to the server here.
const ACK_TIMEOUT_MS: u32 = 2_000;
