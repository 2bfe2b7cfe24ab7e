//! Metrics in Prometheus' text format, version 0.0.4.
//!
//! [`node`] has node_exporter's names, types and labels, so that its dashboards work as they are; [`own`] has `pitool_*`.

pub mod node;
pub mod own;

use std::fmt::Write;

/// What the format calls a metric's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// node_exporter does not say.
    Untyped,
}

/// What is said of a content of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that is being written.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    text: String,
    name: String,
}

impl Exposition {
    /// Begins a metric.
    pub fn metric(&mut self, name: &str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        name.clone_into(&mut self.name);
        self
    }

    /// Adds a value of the metric that was begun last.
    pub fn value(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.text.push_str(&self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if index == 0 { '{' } else { ',' });
            escaped(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = if value.is_nan() {
            writeln!(self.text, " NaN")
        } else if value.is_infinite() {
            writeln!(self.text, " {}Inf", if value > 0.0 { '+' } else { '-' })
        } else {
            // `Display` of f64 is the shortest text that reads back the same, without an exponent.
            writeln!(self.text, " {value}")
        };
        self
    }

    /// A metric with one value and no labels.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.metric(name, kind, help).value(&[], value);
    }

    /// A metric with one value, if it is known.
    pub fn some(&mut self, name: &str, kind: Kind, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.one(name, kind, help, value);
        }
    }

    /// Adds metrics that somebody else wrote in this format.
    pub fn append(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// A label's value with the escapes of the format.
fn escaped(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format() {
        let mut text = Exposition::default();
        text.metric("a_total", Kind::Counter, "A.")
            .value(&[("x", "1\"\\\n"), ("y", "")], 1.5)
            .value(&[], f64::NAN);
        text.some("b", Kind::Gauge, "B.", None);
        text.one("c", Kind::Untyped, "C.", 12_345_678_901.0);
        assert_eq!(
            text.finish(),
            "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\\\"\\\\\\n\",y=\"\"} 1.5\na_total NaN\n\
             # HELP c C.\n# TYPE c untyped\nc 12345678901\n"
        );
    }
}
