//! The committed tables are what the generator makes of the registry.

#[path = "../examples/generate_tables/generate.rs"]
mod generate;

use std::fs;
use std::path::Path;

#[test]
fn committed_tables_are_fresh() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (xml, rust) in generate::FILES {
        let definition = fs::read_to_string(crate_folder.join(xml)).unwrap();
        let committed = fs::read_to_string(crate_folder.join(rust)).unwrap();
        let fresh = generate::table(xml, &definition).unwrap();
        assert!(committed == fresh, "{rust} is stale: cargo run -p lwm2m-rs --example generate_tables");
    }
}

#[test]
fn unknown_resource_type_stops_the_generator_with_the_name_of_the_resource() {
    let definition = "<Object><Name>Lamp</Name><ObjectID>9</ObjectID><MultipleInstances>Single</MultipleInstances>\
        <Mandatory>Optional</Mandatory><Item ID=\"0\"><Name>Colour</Name><Operations>R</Operations>\
        <MultipleInstances>Single</MultipleInstances><Mandatory>Optional</Mandatory><Type>Rainbow</Type></Item></Object>";
    assert_eq!(generate::table("x.xml", definition).unwrap_err(), "Colour: Type is \"Rainbow\"");
}

#[test]
fn definition_that_is_no_xml_is_refused() {
    assert!(generate::table("x.xml", "<Object><Name>").is_err());
}
