//! The roles: pure functions from config and facts to resources
