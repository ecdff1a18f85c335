//! The settings, as `src/config/fragment.rs` defines them, with the defaults of `src/config/banjour.toml`.

use anyhow::{Context, Result};
use clap_mangen::roff::{bold, roman};
use toml::{Table, Value};

use crate::docs;
use crate::page::Page;

const DEFINITION: &str = include_str!("../config/fragment.rs");
const DEFAULTS: &str = include_str!("../config/banjour.toml");

/// The jail whose settings are shown as the defaults: those of all that count attempts.
const JAIL: &str = "dovecot";

/// The keys of a struct of the definition.
pub(crate) fn settings(page: &mut Page, of: &str) -> Result<()> {
    let mut defaults: Table = DEFAULTS.parse()?;
    let jails = defaults.remove("jail").context("no jails")?;
    if of == "JailFragment" {
        let jail = jails.get(JAIL).and_then(Value::as_table);
        defaults = jail.context("no such jail")?.clone();
    }
    for (field, description) in docs::fields(DEFINITION, of)? {
        let key = field.replace('_', "-");
        if description.is_empty() {
            page.missing(format!(
                "{field} of {of} has no doc comment in src/config/fragment.rs"
            ));
        }
        let mut term = vec![bold(&key)];
        if let Some(value) = defaults.get(&key) {
            // TOML and JSON write these values alike.
            let value = serde_json::to_string(value)?;
            term.push(roman(format!(" = {value}")));
        }
        page.term(term, &description);
    }
    Ok(())
}
