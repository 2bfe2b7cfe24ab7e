//! Plans, applies, journals and rolls back resources of any kind
