//! Fills the placeholders of a configuration and writes it where a proxy finds it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::contender::Contender;

/// Where the benchmark listens: an address of its own on loopback.
pub(crate) const HOST: &str = "127.31.0.1";

/// Values of placeholders, which are written `@NAME@`.
pub(crate) type Values<'a> = &'a [(&'a str, String)];

/// Fills `stem` for a contender. `None` when there is no such file: the contender cannot do it.
///
/// # Errors
/// When a file cannot be read or written, or a placeholder has no value.
pub(crate) fn write(
    (source, folder): (&Path, &Path),
    contender: Contender,
    stem: &str,
    values: Values<'_>,
) -> Result<Option<PathBuf>> {
    let names = contender.endings().iter().map(|ending| format!("{stem}.{ending}"));
    let Some(name) = names.into_iter().find(|name| source.join(name).exists()) else {
        return Ok(None);
    };
    let text = fs::read_to_string(source.join(&name)).with_context(|| name.clone())?;
    let text = fill(&text, values);
    if let Some(left) = placeholder(&text) {
        bail!("{name}: nothing to put in place of @{left}@");
    }
    let path = folder.join(format!("{contender}-{name}").replace(' ', "-"));
    fs::write(&path, text)?;
    Ok(Some(path))
}

fn fill(text: &str, values: Values<'_>) -> String {
    values
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}

/// A name in capitals between two `@`.
fn placeholder(text: &str) -> Option<&str> {
    let mut pieces = text.split('@').skip(1);
    pieces.find(|piece| {
        !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_filled_is_found() {
        let text = fill("@HOST@:@PORT@ type@x", &[("HOST", HOST.to_owned())]);
        assert_eq!(text, "127.31.0.1:@PORT@ type@x");
        assert_eq!(placeholder(&text), Some("PORT"));
        assert_eq!(placeholder("\"@type\": a@b"), None);
    }
}
