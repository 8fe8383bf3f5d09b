//! `Cookie` headers from strangers: the verifier never panics, and answers as better-call's code
//! does, which is retold here word for word over UTF-16, slow and plain. Some bytes of the input
//! stand for what no fuzzer finds by itself: signed values.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ring::hmac;

use gate::{CookieNames, CookieVerifier, Refusal, SessionCookie};

#[path = "../../src/gate.rs"]
mod gate;

static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, b"secret"));

static VERIFIER: LazyLock<CookieVerifier> = LazyLock::new(|| {
    let names = CookieNames {
        session_token: "s".into(),
        dont_remember: "d".into(),
        session_data: "data".into(),
    };
    CookieVerifier::new("secret", names)
});

/// `token` and its signature; the same for what ends in an encoded space, and for `ä`.
static SIGNED: LazyLock<[String; 3]> = LazyLock::new(|| ["token", "%20", "ä"].map(signed));

fuzz_target!(|bytes: &[u8]| {
    let mut header = String::from_utf8_lossy(bytes).into_owned();
    for (at, value) in SIGNED.iter().enumerate() {
        header = header.replace(char::from(at as u8 + 1), value);
    }
    header = header
        .replace('\u{4}', &SIGNED[0].replace('+', "%2B").replace('/', "%2F").replace('=', "%3d"));
    assert_eq!(VERIFIER.verify(&header), as_javascript_does(&header), "{header:?}");
});

fn signed(text: &str) -> String {
    let signature = hmac::sign(&KEY, text.as_bytes());
    let bits: String = signature.as_ref().iter().map(|byte| format!("{byte:08b}")).collect();
    let digits = bits.as_bytes().chunks(6).map(|six| {
        let six = format!("{:0<6}", std::str::from_utf8(six).unwrap());
        char::from(ALPHABET[usize::from_str_radix(&six, 2).unwrap()])
    });
    format!("{text}.{}=", digits.collect::<String>())
}

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

type Text = Vec<u16>;

fn as_javascript_does(header: &str) -> Result<SessionCookie, Refusal> {
    let cookies = parse_cookies(&header.encode_utf16().collect::<Text>());
    let get = |name: &str| cookies.iter().find(|(key, _, _)| String::from_utf16_lossy(key) == name);
    let signed = |name: &str| {
        let (_, raw, value) = get(name)?;
        // The one rule of our own: a bound.
        if String::from_utf16_lossy(raw).len() > 4096 { None } else { signed_value(value) }
    };
    if get("s").is_none_or(|(_, raw, _)| raw.is_empty()) {
        return Err(Refusal::NoCookie);
    }
    let token = signed("s").ok_or(Refusal::BadSignature)?;
    let dont_remember = signed("d").is_some();
    let has_data = header.contains("data");
    Ok(SessionCookie { token, dont_remember, has_data })
}

/// Each cookie's name, its value as it stands there, and as it is read.
fn parse_cookies(text: &[u16]) -> Vec<(Text, Text, Text)> {
    let mut cookies: Vec<(Text, Text, Text)> = Vec::new();
    let unit = |c: char| c as u16;
    let index_of = |c: char, from: usize| {
        text.iter().skip(from).position(|u| *u == unit(c)).map(|at| at + from)
    };
    let mut index = 0;
    while index < text.len() {
        let Some(equals) = index_of('=', index) else { break };
        let end = index_of(';', index).unwrap_or(text.len());
        if end < equals {
            index = text[..equals].iter().rposition(|u| *u == unit(';')).unwrap() + 1;
            continue;
        }
        let key = trim(&text[index..equals]).to_vec();
        if !cookies.iter().any(|(known, _, _)| *known == key) {
            let raw = trim(&text[equals + 1..end]).to_vec();
            let mut value = raw.clone();
            if value.first() == Some(&unit('"')) {
                value =
                    if value.len() < 2 { Text::new() } else { value[1..value.len() - 1].to_vec() };
            }
            cookies.push((key, raw, decode(&value).unwrap_or(value)));
        }
        index = end + 1;
    }
    cookies
}

fn trim(text: &[u16]) -> &[u16] {
    let is_space = |u: &u16| matches!(u, 9..=13 | 0x20 | 0xA0 | 0x1680 | 0x2000..=0x200A | 0x2028 | 0x2029 | 0x202F | 0x205F | 0x3000 | 0xFEFF);
    let Some(start) = text.iter().position(|u| !is_space(u)) else { return &[] };
    let end = text.iter().rposition(|u| !is_space(u)).unwrap();
    &text[start..=end]
}

/// ECMAScript's Decode: <https://tc39.es/ecma262/#sec-decode>.
fn decode(text: &[u16]) -> Option<Text> {
    let octet = |at: usize| {
        let digit =
            |at: usize| char::from_u32(u32::from(*text.get(at)?)).and_then(|c| c.to_digit(16));
        if *text.get(at)? != u16::from(b'%') {
            None
        } else {
            Some((digit(at + 1)? * 16 + digit(at + 2)?) as u8)
        }
    };
    let mut decoded = Text::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] != u16::from(b'%') {
            decoded.push(text[at]);
            at += 1;
            continue;
        }
        let first = octet(at)?;
        at += 3;
        let length = match first.leading_ones() {
            0 => 1,
            n @ 2..=4 => n as usize,
            _ => return None,
        };
        let mut octets = vec![first];
        for _ in 1..length {
            octets.push(octet(at)?);
            at += 3;
        }
        decoded.extend(std::str::from_utf8(&octets).ok()?.encode_utf16());
    }
    Some(decoded)
}

fn signed_value(value: &[u16]) -> Option<String> {
    let dot = value.iter().rposition(|u| *u == u16::from(b'.')).filter(|dot| *dot >= 1)?;
    let (signed, signature) = (String::from_utf16_lossy(&value[..dot]), &value[dot + 1..]);
    if signature.len() != 44 || signature.last() != Some(&u16::from(b'=')) {
        return None;
    }
    let signature = atob(signature)?;
    hmac::verify(&KEY, signed.as_bytes(), &signature).is_ok().then_some(signed)
}

/// <https://infra.spec.whatwg.org/#forgiving-base64-decode>
fn atob(text: &[u16]) -> Option<Vec<u8>> {
    let mut text: Vec<u16> =
        text.iter().copied().filter(|u| !matches!(u, 9 | 10 | 12 | 13 | 32)).collect();
    if text.len() % 4 == 0 {
        for _ in 0..2 {
            if text.last() == Some(&u16::from(b'=')) {
                text.pop();
            }
        }
    }
    if text.len() % 4 == 1 {
        return None;
    }
    let digit = |u: &u16| ALPHABET.iter().position(|c| u16::from(*c) == *u);
    let bits: String =
        text.iter().map(|u| digit(u).map(|digit| format!("{digit:06b}"))).collect::<Option<_>>()?;
    let octets = bits.as_bytes().chunks_exact(8);
    Some(
        octets
            .map(|eight| u8::from_str_radix(std::str::from_utf8(eight).unwrap(), 2).unwrap())
            .collect(),
    )
}
