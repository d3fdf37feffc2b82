//! Reads the key `push` of a selvedge.yaml. Every error names the line and the key.

use super::push_text::{PushText, URL, check, check_label};
use super::settings::PushFormat;
use crate::error::Error;
use crate::yaml::{Field, expand_env};
use std::path::Path;

/// `off`, a URL, or a section. `None`: off.
pub(super) fn read_push(push: &Field<'_>, folder: &Path) -> Result<Option<PushText>, Error> {
    if !push.is_section() {
        let text = expanded(push, &format!("off, {URL}, or a section"))?;
        if text == "off" {
            return Ok(None);
        }
        let text = PushText { url: text, ..PushText::default() };
        return match check(text.clone()) {
            Ok(_) => Ok(Some(text)),
            Err(wrong) => Err(push.error(wrong.message)),
        };
    }
    let section = push.section(&["url", "every", "labels", "format", "token_file", "user", "tenant"])?;
    let mut text = PushText {
        url: expanded(&section.required("url", "where the profiles go, as http://localhost:4040")?, URL)?,
        ..PushText::default()
    };
    if let Some(field) = section.get("format") {
        text.format = field.choice(&[("pyroscope", PushFormat::Pyroscope), ("otlp", PushFormat::Otlp)])?;
    }
    text.every = section.get("every").map(|field| field.duration()).transpose()?;
    if let Some(field) = section.get("labels") {
        for (name, label) in field.open()?.all() {
            let value = expanded(&label, "the value of a label")?;
            check_label(name, &value, text.format).map_err(|message| label.error(message))?;
            text.labels.push((name.to_owned(), value));
        }
    }
    if let Some(field) = section.get("token_file") {
        text.token_file = Some(folder.join(expanded(&field, "the path of a file with a token")?));
    }
    text.user = section.get("user").map(|field| expanded(&field, "the name of a user")).transpose()?;
    text.tenant = section.get("tenant").map(|field| expanded(&field, "the name of a tenant")).transpose()?;
    match check(text.clone()) {
        Ok(_) => Ok(Some(text)),
        Err(wrong) => Err(section.get(wrong.key).unwrap_or_else(|| push.clone()).error(wrong.message)),
    }
}

/// A text with its environment variables replaced.
fn expanded(field: &Field<'_>, what: &str) -> Result<String, Error> {
    expand_env(field.text(what)?).map_err(|message| field.error(message))
}
