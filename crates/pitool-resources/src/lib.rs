//! The kinds of things pitool can settle, one file each
