//! Texts from the files under `templates/`.

use askama::Template;

/// Renders a text that ends in one newline.
pub(crate) fn text(template: &impl Template) -> String {
    // Plain values written into a String cannot fail; the snapshots would show an empty file.
    let mut text = template.render().unwrap_or_default();
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
