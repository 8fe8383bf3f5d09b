//! The session cookie of a request: found, read and its signature checked, just as Better Auth does
//! it.
//!
//! The rules are those of better-call 1.1 to 1.4 (`parseCookies`, `getSignedCookie`,
//! `verifySignature`), Better Auth's own HTTP layer: of cookies with one name the first counts, a
//! value in quotes loses its first and last character, percent encodings that are wrong are left as
//! they are, and what follows the last dot is the signature: HMAC-SHA-256 of what stands before it,
//! in base64 whose unused last bits may be anything. Text is trimmed as JavaScript trims it.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

/// The longest value of a cookie that is looked at, in bytes: browsers keep no longer ones.
const MAX_VALUE_BYTES: usize = 4096;

/// A SHA-256 HMAC in base64.
const SIGNATURE_CHARS: usize = 44;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The names of Better Auth's cookies, prefixes and all: they are configurable.
#[derive(Clone, Debug)]
pub struct CookieNames {
    /// Holds the session's token, signed.
    pub session_token: String,
    /// Says, signed, that the session ends with the browser.
    pub dont_remember: String,
    /// Holds a copy of the session (Better Auth's cookie cache); large ones lie in parts:
    /// `<name>.0`, `<name>.1` …
    pub session_data: String,
}

/// What a request's cookies say, their signatures checked.
#[derive(Debug, PartialEq)]
pub struct SessionCookie {
    /// The token of the session.
    pub token: String,
    /// Whether the session is not to be extended.
    pub dont_remember: bool,
    /// Whether there may be a copy of the session, or a part of one. It is not looked at.
    pub has_data: bool,
}

/// Why a request has no session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// There is no session cookie, or an empty one.
    NoCookie,
    /// The session cookie has no valid signature, or its value is longer than 4 kB.
    BadSignature,
}

/// Reads session cookies that were signed with one secret.
pub struct CookieVerifier {
    names: CookieNames,
    key: hmac::Key,
}

impl CookieVerifier {
    /// `secret`: Better Auth's.
    pub fn new(secret: &str, names: CookieNames) -> Self {
        CookieVerifier { names, key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()) }
    }

    /// The session cookie in a `Cookie` header.
    pub fn verify(&self, header: &str) -> Result<SessionCookie, Refusal> {
        let (mut session, mut dont_remember) = (None, None);
        let CookieNames { session_token, dont_remember: remember, session_data } = &self.names;
        for (name, value) in cookies(header) {
            if name == session_token {
                session.get_or_insert(value);
            } else if name == remember {
                dont_remember.get_or_insert(value);
            }
        }
        let session = session.filter(|value| !value.is_empty()).ok_or(Refusal::NoCookie)?;
        let token = self.signed(session).ok_or(Refusal::BadSignature)?.into_owned();
        // Anywhere at all: Better Auth 1.4 and 1.5 look for its parts with a parser of their own.
        let has_data = header.contains(session_data.as_str());
        let dont_remember = dont_remember.is_some_and(|value| self.signed(value).is_some());
        Ok(SessionCookie { token, dont_remember, has_data })
    }

    /// What a signed value says, if its signature holds.
    fn signed<'h>(&self, raw: &'h str) -> Option<Cow<'h, str>> {
        if raw.len() > MAX_VALUE_BYTES {
            return None;
        }
        let value = decoded(unquoted(raw)?);
        let dot = value.rfind('.').filter(|dot| *dot > 0)?;
        let (signed, signature) = (&value[..dot], &value[dot + 1..]);
        if signature.len() != SIGNATURE_CHARS {
            return None;
        }
        let signature = BASE64.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        Some(match value {
            Cow::Borrowed(value) => Cow::Borrowed(&value[..dot]),
            Cow::Owned(value) => Cow::Owned(value[..dot].to_owned()),
        })
    }
}

/// The cookies of a header, in their order: names and values, trimmed.
fn cookies(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let equals = rest.find('=')?;
        // What has no "=" belongs to no cookie.
        let start = rest[..equals].rfind(';').map_or(0, |semicolon| semicolon + 1);
        let end = rest[equals..].find(';').map_or(rest.len(), |length| equals + length);
        let cookie = (
            rest[start..equals].trim_matches(is_space),
            rest[equals + 1..end].trim_matches(is_space),
        );
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(cookie)
    })
}

/// What JavaScript's `trim` takes away.
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}'
}

/// Without the first and the last character if the first is a quote, whatever the last is. `None`:
/// the last is only half taken away.
fn unquoted(value: &str) -> Option<&str> {
    let Some(rest) = value.strip_prefix('"') else { return Some(value) };
    match rest.char_indices().next_back() {
        None => Some(""),
        Some((at, last)) => (last.len_utf16() == 1).then(|| &rest[..at]),
    }
}

/// As JavaScript's `decodeURIComponent`; the value itself where that throws.
fn decoded(value: &str) -> Cow<'_, str> {
    if value.contains('%') {
        percent_decoded(value).map_or(Cow::Borrowed(value), Cow::Owned)
    } else {
        Cow::Borrowed(value)
    }
}

/// Each run of encoded bytes has to be whole characters by itself.
fn percent_decoded(value: &str) -> Option<String> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(percent) = rest.find('%') {
        decoded.push_str(&rest[..percent]);
        rest = &rest[percent..];
        let mut run = Vec::new();
        while let Some(encoded) = rest.strip_prefix('%') {
            let byte =
                (digit(encoded.as_bytes().first())? << 4) | digit(encoded.as_bytes().get(1))?;
            run.push(byte as u8);
            rest = &encoded[2..];
        }
        decoded.push_str(&String::from_utf8(run).ok()?);
    }
    decoded.push_str(rest);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifier() -> CookieVerifier {
        let names = CookieNames {
            session_token: "s".to_owned(),
            dont_remember: "d".to_owned(),
            session_data: "data".to_owned(),
        };
        CookieVerifier::new("secret", names)
    }

    fn signature(text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        BASE64.encode(hmac::sign(&key, text.as_bytes()))
    }

    fn signed(text: &str) -> String {
        format!("{text}.{}", signature(text))
    }

    fn token(header: &str) -> Option<String> {
        verifier().verify(header).ok().map(|cookie| cookie.token)
    }

    #[test]
    fn a_signed_token_is_found_wherever_it_stands() {
        let cookie = signed("token");
        for header in [
            format!("s={cookie}"),
            format!("a=1; s={cookie}; b=2"),
            format!("a;s={cookie}"),
            format!(";; s = {cookie} ;"),
            format!("s=\"{cookie}\""),
            format!("s=\"{cookie}x"),
            format!("s=\u{FEFF}{cookie}\u{A0}"),
            format!("s={}", cookie.replace('+', "%2B").replace('/', "%2F").replace('=', "%3d")),
            format!("s={cookie}; s=another"),
        ] {
            assert_eq!(token(&header).as_deref(), Some("token"), "{header}");
        }
    }

    #[test]
    fn anything_else_is_no_session() {
        let cookie = signed("token");
        for header in [
            String::new(),
            "s".to_owned(),
            "s=".to_owned(),
            "s=token".to_owned(),
            "s=token.".to_owned(),
            format!("S={cookie}"),
            format!("s=another; s={cookie}"),
            format!("s=; s={cookie}"),
            format!("s=\u{85}{cookie}"),
            format!("s=\"{cookie}\u{1F600}"),
            format!("s={}", &cookie[..cookie.len() - 1]),
            format!("s={cookie}="),
            format!("s=x{cookie}"),
            format!("s=.{}", signature("")),
            format!("s=token.{}", signature("another")),
        ] {
            assert_eq!(token(&header), None, "{header}");
        }
    }

    #[test]
    fn a_missing_cookie_and_a_bad_signature_are_different_refusals() {
        let cookie = signed("token");
        for header in ["", "s", "s=", "s= ; a=1", "S=token", "a=s"] {
            assert_eq!(verifier().verify(header), Err(Refusal::NoCookie), "{header}");
        }
        for header in ["s=token", "s=\"\"", &format!("s=x{cookie}"), &format!("s=x; s={cookie}")] {
            assert_eq!(verifier().verify(header), Err(Refusal::BadSignature), "{header}");
        }
    }

    #[test]
    fn the_signature_is_read_as_leniently_as_atob_does() {
        let cookie = signed("token");
        let (head, last) = (&cookie[..cookie.len() - 2], cookie.as_bytes()[cookie.len() - 2]);
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let value = alphabet.iter().position(|c| *c == last).unwrap();
        for (n, c) in alphabet.iter().enumerate() {
            let holds = n >> 2 == value >> 2;
            assert_eq!(token(&format!("s={head}{}=", char::from(*c))).is_some(), holds, "{n}");
        }
        assert_eq!(token(&format!("s={}", cookie.replace('=', "A"))), None);
        assert_eq!(token(&format!("s={head}==")), None);
    }

    #[test]
    fn percent_encodings_are_read_as_javascript_reads_them() {
        for (encoded, text) in [
            ("a%20b", Some("a b")),
            ("%C3%A4%e2%82%ac", Some("ä€")),
            ("ä%20", Some("ä ")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%C3", None),
            ("%C3ä", None),
            ("%ED%A0%80", None),
            ("%+1", None),
        ] {
            assert_eq!(percent_decoded(encoded).as_deref(), text, "{encoded}");
            // What cannot be decoded is taken as it is.
            assert_eq!(
                token(&format!("s={}", signed(encoded))).is_some(),
                text.is_none(),
                "{encoded}"
            );
        }
    }

    #[test]
    fn the_other_cookies_are_reported() {
        let (session, forget) = (signed("token"), signed("true"));
        for (others, dont_remember, has_data) in [
            (String::new(), false, false),
            (format!("; d={forget}"), true, false),
            ("; d=true".to_owned(), false, false),
            (format!("; d=; d={forget}"), false, false),
            ("; data=x".to_owned(), false, true),
            ("; data.1=x".to_owned(), false, true),
            ("; database=x".to_owned(), false, true),
            ("; a;data.1;x=y".to_owned(), false, true),
            ("; other=x".to_owned(), false, false),
        ] {
            let expected = SessionCookie { token: "token".to_owned(), dont_remember, has_data };
            assert_eq!(
                verifier().verify(&format!("s={session}{others}")),
                Ok(expected),
                "{others}"
            );
        }
    }

    #[test]
    fn a_long_value_is_refused_and_a_long_header_is_not() {
        let long = "x".repeat(MAX_VALUE_BYTES);
        assert_eq!(token(&format!("s={}", signed(&long))), None);
        assert_eq!(token(&format!("a={long}; s={}", signed("token"))).as_deref(), Some("token"));
    }
}
