//! What objects and resources exist, and of which type they are.
//!
//! One file per object, generated from the OMA registry (`registry/*.xml`), or for an object of ours from
//! `private/*.xml`, by
//! `cargo run -p lwm2m-rs --example generate_tables`; a test fails when they are stale. In each, a constant
//! per resource id, and `OBJECT`, the table.

pub mod bellwether_update;
pub mod device;
pub mod firmware_update;
pub mod security;
pub mod server;

use crate::value::ValueType;

/// Object 0, LwM2M Security.
pub const SECURITY: &ObjectDef = &security::OBJECT;
/// Object 1, LwM2M Server.
pub const SERVER: &ObjectDef = &server::OBJECT;
/// Object 3, Device.
pub const DEVICE: &ObjectDef = &device::OBJECT;
/// Object 5, Firmware Update.
pub const FIRMWARE_UPDATE: &ObjectDef = &firmware_update::OBJECT;
/// Object 26250, Bellwether Update: a private one.
pub const BELLWETHER_UPDATE: &ObjectDef = &bellwether_update::OBJECT;
/// Every object this crate has a table of, by id.
pub const ALL: &[&ObjectDef] = &[SECURITY, SERVER, DEVICE, FIRMWARE_UPDATE, BELLWETHER_UPDATE];

/// Finds the table of an object.
#[must_use]
pub fn object(id: u16) -> Option<&'static ObjectDef> {
    ALL.iter().copied().find(|object| object.id == id)
}

/// Finds the definition of a resource of an object.
#[must_use]
pub fn resource(object_id: u16, resource_id: u16) -> Option<&'static ResourceDef> {
    object(object_id)?.resource(resource_id)
}

/// Definition of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ObjectDef {
    /// Object id.
    pub id: u16,
    /// Name as registered.
    #[cfg(feature = "names")]
    pub name: &'static str,
    /// Version of the object, such as `1.2`.
    pub version: &'static str,
    /// Whether it may have more than one instance.
    pub multiple: bool,
    /// Whether every client has it.
    pub mandatory: bool,
    /// Its resources by ascending id.
    pub resources: &'static [ResourceDef],
}

/// Definition of a resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResourceDef {
    /// Resource id.
    pub id: u16,
    /// Name as registered.
    #[cfg(feature = "names")]
    pub name: &'static str,
    /// What a server may do with it.
    pub operations: Operations,
    /// Whether it may have more than one instance.
    pub multiple: bool,
    /// Whether every instance of the object has it.
    pub mandatory: bool,
    /// Type of its value; `None` for what is executed and holds no value.
    pub value_type: Option<ValueType>,
    /// Range or enumeration in the registry's words; empty where it gives none.
    #[cfg(feature = "names")]
    pub range: &'static str,
    /// Unit of its value in the registry's words, such as `/100`, `mV`, `s`; empty where it has none.
    #[cfg(feature = "names")]
    pub units: &'static str,
}

/// What a server may do with a resource.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operations {
    /// Nothing: only a bootstrap server reaches it.
    Bootstrap,
    /// Read and observe.
    Read,
    /// Write.
    Write,
    /// Read, observe and write.
    ReadWrite,
    /// Execute.
    Execute,
}

impl ObjectDef {
    /// Finds the definition of a resource.
    #[must_use]
    pub fn resource(&self, id: u16) -> Option<&'static ResourceDef> {
        let resources = self.resources;
        let at = resources.binary_search_by_key(&id, |resource| resource.id).ok()?;
        resources.get(at)
    }
}

impl Operations {
    /// Says whether a server may read.
    #[must_use]
    pub const fn can_read(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Says whether a server may write.
    #[must_use]
    pub const fn can_write(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }

    /// Says whether a server may execute.
    #[must_use]
    pub const fn can_execute(self) -> bool {
        matches!(self, Self::Execute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_their_id() {
        for (id, name) in [(0, "LWM2M Security"), (1, "LwM2M Server"), (3, "Device"), (5, "Firmware Update")]
        {
            assert_eq!(object(id).map(|object| object.name), Some(name));
        }
        assert_eq!(object(2), None);
    }

    #[test]
    fn firmware_update_has_the_resources_that_an_update_walks_through() {
        let package = resource(5, firmware_update::PACKAGE).unwrap();
        assert_eq!((package.operations, package.value_type), (Operations::Write, Some(ValueType::Opaque)));
        let update = resource(5, 2).unwrap();
        assert!(update.operations.can_execute() && update.value_type.is_none());
        assert_eq!(resource(5, firmware_update::STATE).unwrap().range, "0..3");
        assert_eq!(resource(5, 4), None);
    }

    #[test]
    fn only_executable_resources_have_no_type() {
        for object in ALL {
            for resource in object.resources {
                assert_eq!(resource.value_type.is_none(), resource.operations.can_execute(), "{resource:?}");
            }
        }
    }

    #[test]
    fn resources_stand_in_ascending_order_so_that_the_search_finds_them() {
        for object in ALL {
            assert!(object.resources.is_sorted_by(|a, b| a.id < b.id));
        }
    }
}
