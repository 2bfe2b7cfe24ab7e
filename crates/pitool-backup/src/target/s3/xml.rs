//! What S3 answers: elements of XML without attributes that matter, read by their names.

/// The texts of all elements with this name, with what is in them, in their order.
pub(super) fn elements<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let Some(after) = rest.strip_prefix(name) else { continue };
        // `<Key>` and `<Key attribute="…">`, but not `<KeyCount>` or `<Key/>`.
        let Some(end) = after.find('>') else { break };
        if !after.starts_with(['>', ' ', '\t', '\n', '\r']) || after[..end].ends_with('/') {
            continue;
        }
        let content = &after[end + 1..];
        let Some(close) = content.find(&format!("</{name}>")) else { break };
        found.push(&content[..close]);
        rest = &content[close..];
    }
    found
}

/// The text of the first element with this name, with its entities resolved.
pub(super) fn text(text: &str, name: &str) -> Option<String> {
    elements(text, name).first().map(|content| unescape(content.trim()))
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let entity = rest.find(';').map(|end| &rest[1..end]);
        let character = entity.and_then(|entity| match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => {
                let number = entity.strip_prefix('#')?;
                let number = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(number)
            }
        });
        match (character, entity) {
            (Some(character), Some(entity)) => {
                out.push(character);
                rest = &rest[entity.len() + 2..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_amazon_sends_them() {
        let list = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><KeyCount>2</KeyCount>\
            <Contents><Key>a&amp;b.tar.zst</Key><Size>12</Size></Contents>\
            <Contents>\n<Key>c&#x20;d</Key><ETag>&quot;x&quot;</ETag><Size>0</Size></Contents>\
            <Prefix/><IsTruncated>false</IsTruncated></ListBucketResult>";
        let contents = elements(list, "Contents");
        assert_eq!(contents.len(), 2);
        assert_eq!(text(contents[0], "Key").unwrap(), "a&b.tar.zst");
        assert_eq!(text(contents[1], "Key").unwrap(), "c d");
        assert_eq!(text(contents[1], "ETag").unwrap(), "\"x\"");
        assert_eq!(text(list, "IsTruncated").unwrap(), "false");
        assert_eq!(text(list, "NextContinuationToken"), None);
    }

    #[test]
    fn nonsense_is_no_list() {
        for nonsense in ["", "<", "<Key", "<Key>", "<Key>a", "</Key>", "<Key/>", "<KeyCount>1</KeyCount>"] {
            assert!(elements(nonsense, "Key").is_empty(), "{nonsense}");
        }
        assert_eq!(unescape("a & b &unknown; &#xffffffff; &"), "a & b &unknown; &#xffffffff; &");
    }
}
