//! Turns an object definition, in the XML of the OMA registry, into a Rust table.

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Definition and table, relative to the crate's folder.
pub(crate) const FILES: [(&str, &str); 5] = [
    ("registry/0.xml", "src/table/security.rs"),
    ("registry/1.xml", "src/table/server.rs"),
    ("registry/3.xml", "src/table/device.rs"),
    ("registry/5.xml", "src/table/firmware_update.rs"),
    ("private/26250.xml", "src/table/bellwether_update.rs"),
];

/// Returns the Rust source of the table, as rustfmt leaves it.
///
/// # Errors
///
/// Says what in the definition is not understood.
pub(crate) fn table(xml_path: &str, xml: &str) -> Result<String, String> {
    render(xml_path, &parse(xml)?)
}

#[derive(Default)]
struct Object {
    fields: Fields,
    resources: Vec<Fields>,
}

/// Texts of an `<Object>` or an `<Item>`; `id` is the item's attribute.
#[derive(Default)]
struct Fields {
    id: String,
    name: String,
    version: String,
    multiple: String,
    mandatory: String,
    operations: String,
    value_type: String,
    range: String,
    units: String,
}

impl Fields {
    fn set(&mut self, element: &str, text: &str) {
        let field = match element {
            "ObjectID" => &mut self.id,
            "Name" => &mut self.name,
            "ObjectVersion" => &mut self.version,
            "MultipleInstances" => &mut self.multiple,
            "Mandatory" => &mut self.mandatory,
            "Operations" => &mut self.operations,
            "Type" => &mut self.value_type,
            "RangeEnumeration" => &mut self.range,
            "Units" => &mut self.units,
            _ => return,
        };
        field.push_str(text.trim());
    }
}

fn parse(xml: &str) -> Result<Object, String> {
    let mut reader = Reader::from_str(xml);
    let mut object = Object::default();
    let mut element = String::new();
    let mut in_item = false;
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                element = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                if element == "Item" {
                    let id = start.try_get_attribute("ID").ok().flatten().ok_or("item without an ID")?;
                    let id = String::from_utf8_lossy(&id.value).into_owned();
                    object.resources.push(Fields { id, ..Fields::default() });
                    in_item = true;
                }
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|error| error.to_string())?;
                let item = object.resources.last_mut().filter(|_| in_item);
                item.unwrap_or(&mut object.fields).set(&element, &text);
            }
            Event::End(end) => {
                in_item &= end.name().as_ref() != b"Item";
                element.clear();
            }
            Event::GeneralRef(_) if element != "Description" => {
                return Err(format!("entity inside <{element}>"));
            }
            Event::Eof => return Ok(object),
            _ => {}
        }
    }
}

fn render(xml_path: &str, object: &Object) -> Result<String, String> {
    let fields = &object.fields;
    let mut out = format!(
        "//! Object {}, {}, version {}.\n//!\n//! Generated from `{xml_path}`{} by\n//! `cargo run -p lwm2m-rs --example generate_tables`; do not edit.\n\n\
         use super::{{ObjectDef, Operations, ResourceDef}};\nuse crate::value::ValueType;\n\n",
        fields.id,
        fields.name,
        fields.version,
        rights(xml_path),
    );
    for resource in &object.resources {
        let (name, id) = (constant(&resource.name), &resource.id);
        push(&mut out, format_args!("/// Id of {}.\npub const {name}: u16 = {id};\n", doc(&resource.name)));
    }
    push(
        &mut out,
        format_args!(
            "\n/// The table of the object.\npub const OBJECT: ObjectDef = ObjectDef {{\n    id: {},\n    \
             #[cfg(feature = \"names\")]\n    name: {:?},\n    version: {:?},\n    multiple: {},\n    \
             mandatory: {},\n    resources: &[\n",
            fields.id,
            fields.name,
            fields.version,
            is_multiple(fields)?,
            is_mandatory(fields)?,
        ),
    );
    for resource in &object.resources {
        render_resource(&mut out, resource)?;
    }
    out.push_str("    ],\n};\n");
    Ok(out)
}

fn render_resource(out: &mut String, resource: &Fields) -> Result<(), String> {
    push(
        out,
        format_args!(
            "        ResourceDef {{\n            id: {},\n            #[cfg(feature = \"names\")]\n            \
             name: {:?},\n            operations: Operations::{},\n            multiple: {},\n            mandatory: {},\n            \
             value_type: {},\n            #[cfg(feature = \"names\")]\n            \
             range: {:?},\n            #[cfg(feature = \"names\")]\n            units: {:?},\n        }},\n",
            constant(&resource.name),
            resource.name,
            operations(resource)?,
            is_multiple(resource)?,
            is_mandatory(resource)?,
            value_type(resource)?,
            resource.range,
            resource.units,
        ),
    );
    Ok(())
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(text);
}

/// Whose definition it is, where it is not this project's.
fn rights(xml_path: &str) -> &'static str {
    if xml_path.starts_with("registry/") {
        " (Copyright Open Mobile Alliance, BSD-3-Clause, see there)"
    } else {
        ""
    }
}

/// Name of the constant: words in capitals, joined by one underscore.
fn constant(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_uppercase).collect::<Vec<_>>().join("_")
}

/// Name in backticks, since registered names look like code to the documentation lint.
fn doc(name: &str) -> String {
    format!("`{name}`")
}

fn is_multiple(fields: &Fields) -> Result<bool, String> {
    match fields.multiple.as_str() {
        "Multiple" => Ok(true),
        "Single" => Ok(false),
        other => Err(format!("{}: MultipleInstances is {other:?}", fields.name)),
    }
}

fn is_mandatory(fields: &Fields) -> Result<bool, String> {
    match fields.mandatory.as_str() {
        "Mandatory" => Ok(true),
        "Optional" => Ok(false),
        other => Err(format!("{}: Mandatory is {other:?}", fields.name)),
    }
}

fn operations(fields: &Fields) -> Result<&'static str, String> {
    match fields.operations.as_str() {
        "" => Ok("Bootstrap"),
        "R" => Ok("Read"),
        "W" => Ok("Write"),
        "RW" => Ok("ReadWrite"),
        "E" => Ok("Execute"),
        other => Err(format!("{}: Operations is {other:?}", fields.name)),
    }
}

fn value_type(fields: &Fields) -> Result<&'static str, String> {
    match fields.value_type.as_str() {
        "" => Ok("None"),
        "String" => Ok("Some(ValueType::String)"),
        "Integer" => Ok("Some(ValueType::Integer)"),
        "Unsigned Integer" => Ok("Some(ValueType::Unsigned)"),
        "Float" => Ok("Some(ValueType::Float)"),
        "Boolean" => Ok("Some(ValueType::Boolean)"),
        "Opaque" => Ok("Some(ValueType::Opaque)"),
        "Time" => Ok("Some(ValueType::Time)"),
        "Objlnk" => Ok("Some(ValueType::ObjectLink)"),
        "Corelnk" => Ok("Some(ValueType::CoreLink)"),
        other => Err(format!("{}: Type is {other:?}", fields.name)),
    }
}
