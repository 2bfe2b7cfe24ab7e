//! What the person wrote: fragments, merged and validated, with positions
