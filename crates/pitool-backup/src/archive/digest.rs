//! The digest of a large file from those of its pieces, each made on its own: BLAKE3 is a tree.

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use pitool_host::Digest;

use super::PIECE;

/// The chaining value of a piece of a file that has several.
pub(crate) fn chaining_value(number: usize, plain: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(number as u64 * PIECE).update(plain);
    Digest::from_bytes(hasher.finalize_non_root())
}

/// The digest of a file from those of its pieces; there must be two at least.
pub(crate) fn merged(pieces: &[Digest]) -> Digest {
    // Of n pieces the left subtree holds the largest power of two below n (BLAKE3, section 2.1).
    fn subtree(pieces: &[Digest]) -> [u8; 32] {
        if let [piece] = pieces {
            return *piece.as_bytes();
        }
        let (left, right) = pieces.split_at(pieces.len().next_power_of_two() / 2);
        merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
    }
    let (left, right) = pieces.split_at(pieces.len().next_power_of_two() / 2);
    Digest::from_bytes(*merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_pieces_is_the_digest_of_the_whole() {
        for length in [PIECE + 1, 2 * PIECE, 3 * PIECE, 5 * PIECE + 12345, 8 * PIECE] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let pieces: Vec<Digest> = bytes
                .chunks(PIECE as usize)
                .enumerate()
                .map(|(number, piece)| chaining_value(number, piece))
                .collect();
            assert_eq!(merged(&pieces), Digest::of(&bytes), "{length}");
        }
    }
}
