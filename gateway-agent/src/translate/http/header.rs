//! Header names and values (RFC 9110 §5).

/// A token.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Nothing that could end the field, or that HTTP/1.1 peers read differently.
pub(super) fn is_value(text: &str) -> bool {
    text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_message_is_refused() {
        assert!(is_name("X-Custom_1") && !is_name("") && !is_name("a b") && !is_name("a:") && !is_name("ä"));
        assert!(
            is_value("a b\tc") && is_value("") && is_value("ä") && !is_value("a\r\nb") && !is_value("a\0")
        );
    }
}
