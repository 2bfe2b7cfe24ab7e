//! Secrets out of their files.

use pitool_config::values::AbsolutePath;

/// Reads a secret from its file, without the end of its line.
///
/// # Errors
/// It cannot be read; the words name the file.
pub(crate) fn secret(path: &AbsolutePath) -> Result<String, String> {
    let text = std::fs::read_to_string(path.as_str()).map_err(|error| format!("{path}: {error}"))?;
    let text = text.trim();
    if text.is_empty() || text.contains(['\n', '\r']) {
        return Err(format!("{path} should hold one line"));
    }
    Ok(text.to_owned())
}
