//! The doc comments of fields, variants and methods, read from the source.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use syn::{Attribute, Expr, ExprLit, ImplItem, Item, Lit, Meta, TraitItemFn};

/// The name of each field, variant or method, and what stands above it, in Markdown; in their order.
pub(crate) type Docs = Vec<(String, String)>;

/// Of the fields of a struct.
pub(crate) fn fields(source: &str, name: &str) -> Result<Docs> {
    let found = items(source)?.into_iter().find_map(|item| match item {
        Item::Struct(item) if item.ident == name => Some(item.fields),
        _ => None,
    });
    let fields = found.with_context(|| format!("there is no struct {name}"))?;
    let fields = fields.into_iter();
    Ok(fields
        .filter_map(|field| Some((field.ident?.to_string(), text(&field.attrs))))
        .collect())
}

/// Of the variants of an enum.
pub(crate) fn variants(source: &str, name: &str) -> Result<Docs> {
    let found = items(source)?.into_iter().find_map(|item| match item {
        Item::Enum(item) if item.ident == name => Some(item.variants),
        _ => None,
    });
    let variants = found.with_context(|| format!("there is no enum {name}"))?;
    let variants = variants.into_iter();
    Ok(variants
        .map(|variant| (variant.ident.to_string(), text(&variant.attrs)))
        .collect())
}

/// Of the members of a D-Bus interface, by their names in small letters without `_`, and whether it is a property.
pub(crate) fn members(source: &str) -> Result<BTreeMap<(String, bool), String>> {
    let mut members = BTreeMap::new();
    for item in items(source)? {
        let Item::Impl(item) = item else { continue };
        for item in item.items {
            let (attributes, name) = match item {
                ImplItem::Fn(item) => (item.attrs, item.sig.ident),
                // A signal has no body, which is no Rust before zbus has seen it.
                ImplItem::Verbatim(tokens) => {
                    let item: TraitItemFn = syn::parse2(tokens)?;
                    (item.attrs, item.sig.ident)
                }
                _ => continue,
            };
            let is_property = attributes.iter().any(|attribute| {
                matches!(&attribute.meta, Meta::List(list)
                    if list.path.is_ident("zbus") && list.tokens.to_string().starts_with("property"))
            });
            let name = name.to_string().replace('_', "");
            members.insert((name, is_property), text(&attributes));
        }
    }
    Ok(members)
}

fn items(source: &str) -> Result<Vec<Item>> {
    Ok(syn::parse_file(source)?.items)
}

fn text(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let Meta::NameValue(meta) = &attribute.meta else {
            return None;
        };
        let Expr::Lit(ExprLit {
            lit: Lit::Str(line),
            ..
        }) = &meta.value
        else {
            return None;
        };
        meta.path.is_ident("doc").then(|| line.value())
    });
    let lines: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}
