//! Everything that pitool prints.
//!
//! Data goes to stdout, talk to stderr. Colour never carries meaning: every line reads the same without it. The
//! commands hand over values; what they look like is decided here, and only [`Terminal`] writes.

pub mod backup;
pub mod failure;
pub mod health;
pub mod history;
pub mod json;
pub mod plan;
pub mod progress;
pub mod proof;
pub mod run;
mod terminal;
mod text;

pub use progress::{Live, Ticker};
pub use terminal::{Streams, Terminal};
pub use text::{Clock, Paint, bytes, count, duration, list, visible, wrap};
