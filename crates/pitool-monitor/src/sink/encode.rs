//! Text as headers and mails carry it.

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
        words.iter().map(|word| format!("=?utf-8?B?{}?=", base64(word.as_bytes()))).collect();
    framed.join(" ")
}

/// Base64 of RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for index in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
