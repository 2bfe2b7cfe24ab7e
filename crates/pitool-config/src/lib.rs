//! What the person wrote: fragments, merged and validated, with positions.
//!
//! Three ideas, in this order: a [`Fragment`] is one file as written; fragments are merged key by key, and
//! every value keeps the place that it came from; [`Settings`] are what results, every value typed and checked.
//! [`load`] is pure: it reads no file, and reports every problem that it finds, not only the first.

mod check;
mod diagnostic;
mod found;
mod fragment;
pub mod import;
mod load;
mod read;
mod reference;
pub mod settings;
mod tree;
pub mod values;
mod zones;

pub use check::CHECKS;
pub use diagnostic::{Diagnostic, Severity};
pub use fragment::Fragment;
pub use load::{Loaded, load};
pub use reference::{example, reference, schema, written_example};
pub use settings::Settings;
