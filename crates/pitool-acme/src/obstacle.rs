//! What keeps a CA from being asked.

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What was found.
    pub what: String,
    /// What to do.
    pub advice: String,
    /// Whether the CA may find something else: it asks from outside, with a name server of its own, and follows redirects.
    pub doubtful: bool,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}
