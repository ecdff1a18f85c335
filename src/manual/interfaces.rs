//! The D-Bus interfaces, as the objects themselves tell, with the descriptions that stand above their members in the source.

use anyhow::Result;
use clap_mangen::roff::Roff;
use zbus_xml::{Arg, ArgDirection, Interface, Node, PropertyAccess};

use crate::commands::named;
use crate::docs;
use crate::page::Page;

/// Where each interface is defined, in the order of `banjour::bus::introspection`, and the path of its objects.
const DEFINITIONS: [(&str, &str, &str); 2] = [
    (
        "src/bus/manager.rs",
        include_str!("../bus/manager.rs"),
        banjour::bus::PATH,
    ),
    (
        "src/bus/jail.rs",
        include_str!("../bus/jail.rs"),
        "/org/banjour/Banjour1/jail/NAME",
    ),
];

/// Each interface: all of it at a glance, then its members one by one.
pub(crate) fn interfaces(page: &mut Page) -> Result<()> {
    for (xml, (file, source, path)) in banjour::bus::introspection().iter().zip(DEFINITIONS) {
        let node = Node::try_from(xml.as_str())?;
        let docs = docs::members(source)?;
        for interface in node.interfaces() {
            let mut heading = Roff::new();
            heading.control("SS", [interface.name().as_str()]);
            page.add(&heading);
            page.lines(&glance(path, interface));
            let methods = interface
                .methods()
                .map(|method| (method.name().to_string(), "()", false));
            let signals = interface
                .signals()
                .map(|signal| (signal.name().to_string(), " (signal)", false));
            let properties = interface
                .properties()
                .map(|property| (property.name().to_string(), " (property)", true));
            for (name, kind, is_property) in methods.chain(signals).chain(properties) {
                let key = (name.to_lowercase(), is_property);
                let description = docs.get(&key).map_or("", String::as_str);
                if description.is_empty() {
                    page.missing(format!("{name}{kind} has no doc comment in {file}"));
                }
                page.term(named(&name, kind), description);
            }
        }
    }
    Ok(())
}

/// The errors' names.
pub(crate) fn errors(page: &mut Page) -> Result<()> {
    for (name, description) in docs::variants(include_str!("../bus/error.rs"), "Error")? {
        // The bus' own errors.
        if name != "Bus" {
            page.term(
                named(&format!("org.banjour.Banjour1.Error.{name}"), ""),
                &description,
            );
        }
    }
    Ok(())
}

/// As systemd's pages show an interface.
fn glance(path: &str, interface: &Interface<'_>) -> String {
    let mut lines = vec![
        format!("node {path} {{"),
        format!("  interface {} {{", interface.name()),
    ];
    let mut block = |heading: &str, members: Vec<String>| {
        if !members.is_empty() {
            lines.push(format!("    {heading}:"));
            lines.extend(members.into_iter().map(|member| format!("      {member};")));
        }
    };
    block(
        "methods",
        interface
            .methods()
            .map(|method| call(method.name().as_str(), method.args(), true))
            .collect(),
    );
    block(
        "signals",
        interface
            .signals()
            .map(|signal| call(signal.name().as_str(), signal.args(), false))
            .collect(),
    );
    let property = |property: &zbus_xml::Property<'_>| {
        let access = match property.access() {
            PropertyAccess::Read => "readonly",
            PropertyAccess::Write => "writeonly",
            PropertyAccess::ReadWrite => "readwrite",
        };
        format!("{access} {} {}", property.ty(), property.name())
    };
    block("properties", interface.properties().map(property).collect());
    lines.push("  };\n};".to_owned());
    lines.join("\n")
}

/// A method or a signal with its arguments, each on a line as soon as there are several.
fn call(name: &str, arguments: &[Arg<'_>], is_method: bool) -> String {
    let argument = |argument: &Arg<'_>| {
        let direction = match argument.direction() {
            _ if !is_method => "",
            Some(ArgDirection::Out) => "out ",
            _ => "in  ",
        };
        format!(
            "{direction}{} {}",
            argument.ty(),
            argument.name().unwrap_or("unnamed")
        )
    };
    let indentation = format!(",\n{}", " ".repeat("      (".len() + name.len()));
    let arguments: Vec<String> = arguments.iter().map(argument).collect();
    format!("{name}({})", arguments.join(&indentation))
}
