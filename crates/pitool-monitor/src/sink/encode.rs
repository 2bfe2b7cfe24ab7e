//! Text as headers and mails carry it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A header's value: as it is when it is ASCII, else as RFC 2047 has it, in words of at most 75 characters.
pub(crate) fn encoded_word(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.is_ascii() {
        return plain;
    }
    let mut words: Vec<String> = vec![String::new()];
    for c in plain.chars() {
        // 42 bytes are 56 letters of base64, and the frame is 12 more.
        if words.last().map_or(0, String::len) + c.len_utf8() > 42 {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let framed: Vec<String> =
        words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(word))).collect();
    framed.join(" ")
}
