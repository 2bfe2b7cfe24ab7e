//! A problem in what the person wrote, with the place where it stands.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;

use crate::Fragment;

/// The most characters of a source line that a message shows; a public key is far longer.
const WIDTH: usize = 100;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The config cannot be used.
    Error,
    /// The config can be used, and the person should know this.
    Warning,
}

/// A problem in what the person wrote.
///
/// It displays as `file:line:column: message`, then the line with a caret under the place, then the hint;
/// without a newline at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Diagnostic {
    /// Whether the config can still be used.
    pub severity: Severity,
    /// The file in which it stands.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, in characters, counted from 1.
    pub column: usize,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The line as written, without its end.
    pub source_line: String,
    /// The characters of that line which the caret marks, counted from 0; at least one, maybe past the end.
    pub span: Range<usize>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Describes a problem at these bytes of a fragment.
    pub(crate) fn new(
        severity: Severity,
        fragment: &Fragment,
        bytes: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        let all = &fragment.bytes;
        let mut start = bytes.start.min(all.len());
        let line_start = |at: usize| all[..at].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        // A parser points past the last line break when the file ends too early; the last line says more.
        if start == all.len() && start > 0 && line_start(start) == start {
            start -= 1;
        }
        let begin = line_start(start);
        let end = all[start..].iter().position(|b| *b == b'\n').map_or(all.len(), |i| start + i);
        let chars = |range: Range<usize>| String::from_utf8_lossy(&all[range]).chars().count();
        let from = chars(begin..start);
        let to = from + chars(start..bytes.end.clamp(start, end)).max(1);
        let source_line = String::from_utf8_lossy(&all[begin..end]).trim_end_matches('\r').to_owned();
        Self {
            severity,
            path: fragment.path.clone(),
            line: all[..begin].iter().filter(|b| **b == b'\n').count() + 1,
            column: from + 1,
            message: message.into(),
            source_line,
            span: from..to,
            hint,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{}:{}:{}: {kind}{}", self.path.display(), self.line, self.column, self.message)?;
        let line: Vec<char> =
            self.source_line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let first =
            if line.len() > WIDTH && self.span.start > WIDTH / 2 { self.span.start - WIDTH / 4 } else { 0 };
        let first = first.min(line.len());
        let last = line.len().min(first + WIDTH);
        let before = if first > 0 { "…" } else { "" };
        let after = if last < line.len() { "…" } else { "" };
        let shown: String = line[first..last].iter().collect();
        let indent = self.span.start - first + before.chars().count();
        let carets = self.span.end.min(last.max(self.span.start + 1)) - self.span.start;
        write!(
            f,
            "\n    {before}{}{after}\n    {}{}",
            shown.trim_end(),
            " ".repeat(indent),
            "^".repeat(carets)
        )?;
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}
