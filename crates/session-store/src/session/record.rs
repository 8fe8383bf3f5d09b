//! A session record, as a view of the text that holds it.
//!
//! Better Auth stores `{"session":{…},"user":{…}}`, the guide's own code the bare session.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::field;
use super::object::Object;

/// A session record, as a view of the text that holds it.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    /// The whole text.
    pub(crate) json: &'a str,
    /// Id of the user whose session this is.
    pub(crate) user_id: String,
    pub(super) shape: Shape<'a>,
}

#[derive(Clone, Debug)]
pub(super) enum Shape<'a> {
    /// `{"session":{…},"user":{…}, …}`; `outer` holds every member, `session` is the parsed one of
    /// that name.
    Nested { outer: Object<'a>, session: Object<'a> },
    /// The session itself.
    Flat(Object<'a>),
}

impl<'a> Record<'a> {
    /// The record in `json`, if `json` is the session record of `token`.
    pub(crate) fn parse(token: &str, json: &'a str) -> Option<Self> {
        // Cheap refusal of counters, verification values and the like: a record names its own
        // token.
        if !json.trim_start().starts_with('{') || !json.contains(token) {
            return None;
        }
        let outer = Object::parse(json)?;
        let is_own =
            |session: &Object<'_>| session.text(field::TOKEN).is_some_and(|own| own == token);
        // A session may have a field called `session`, whatever that holds: a token beside it is
        // the session's own.
        let shape = if outer.get(field::TOKEN).is_some() {
            Shape::Flat(Some(outer).filter(is_own)?)
        } else {
            let session = outer.get(field::SESSION).and_then(Object::parse).filter(is_own)?;
            Shape::Nested { outer, session }
        };
        let mut record = Record { json, user_id: String::new(), shape };
        record.user_id = record.session().id(field::USER_ID)?;
        Some(record)
    }

    /// The session's own fields.
    pub(crate) fn session(&self) -> &Object<'a> {
        match &self.shape {
            Shape::Nested { session, .. } => session,
            Shape::Flat(session) => session,
        }
    }

    /// The text of the session itself, without the user beside it.
    pub(crate) fn session_json(&self) -> &'a str {
        match &self.shape {
            Shape::Nested { outer, .. } => {
                outer.get(field::SESSION).expect("it was parsed from there")
            }
            Shape::Flat(_) => self.json,
        }
    }

    /// When the session was created, in ms since the epoch.
    pub(crate) fn created_at(&self) -> Option<i64> {
        self.session().get(field::CREATED_AT).and_then(instant)
    }

    /// When the session expires, in ms since the epoch.
    pub(crate) fn expires_at(&self) -> Option<i64> {
        self.session().get(field::EXPIRES_AT).and_then(instant)
    }

    /// The session's own `updatedAt`, in ms since the epoch.
    pub(crate) fn updated_at(&self) -> Option<i64> {
        self.session().get(field::UPDATED_AT).and_then(instant)
    }

    /// The user half, if it is an object.
    pub(crate) fn user(&self) -> Option<Object<'a>> {
        match &self.shape {
            Shape::Nested { outer, .. } => user_in(outer),
            Shape::Flat(_) => None,
        }
    }

    /// The text of the user half; `None`: the record has no place for one.
    pub(crate) fn user_json(&self) -> Option<&'a str> {
        match &self.shape {
            Shape::Nested { outer, .. } => Some(outer.get(field::USER).unwrap_or("null")),
            Shape::Flat(_) => None,
        }
    }

    /// Whether an administrator acts as the user (Better Auth's `admin` plugin).
    pub(crate) fn is_impersonated(&self) -> bool {
        self.session().id(field::IMPERSONATED_BY).is_some()
    }

    /// Whether the user signs in with a second factor (Better Auth's `twoFactor` plugin).
    pub(crate) fn has_two_factors(&self) -> bool {
        self.user().is_some_and(|user| user.get(field::TWO_FACTOR_ENABLED) == Some("true"))
    }

    /// The largest field, as `session.<name>` or `user.<name>`, and its size in bytes.
    pub(crate) fn largest_field(&self) -> Option<(String, usize)> {
        let user = self.user();
        let halves = [("session", Some(self.session())), ("user", user.as_ref())];
        let fields = halves.iter().flat_map(|(half, object)| {
            object.iter().flat_map(move |it| it.iter().map(move |f| (half, f)))
        });
        let (half, (name, raw)) = fields.max_by_key(|(_, (_, raw))| raw.len())?;
        // A name may be as long as its writer likes.
        Some((format!("{half}.{}", name.chars().take(64).collect::<String>()), raw.len()))
    }
}

pub(super) fn user_in<'a>(outer: &Object<'a>) -> Option<Object<'a>> {
    outer.get(field::USER).and_then(Object::parse)
}

/// A JSON value as an instant in ms since the epoch: an ISO 8601 text (`JSON.stringify` of a
/// `Date`) or a number of ms.
pub(super) fn instant(raw: &str) -> Option<i64> {
    if let Ok(ms) = raw.parse::<f64>() {
        return Some(ms as i64); // the nearest, where it is too large
    }
    let text: String = serde_json::from_str(raw).ok()?;
    match OffsetDateTime::parse(&text, &Rfc3339) {
        Ok(at) => i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok(),
        Err(_) => far_instant(&text),
    }
}

/// An instant that only its sign matters of: `toISOString()` of a year before 0 or after 9999, or a
/// number that no `Date` holds.
fn far_instant(text: &str) -> Option<i64> {
    const FURTHEST_MS: f64 = 8.64e15;
    let is_far = match text.parse::<f64>() {
        Ok(number) => number.abs() > FURTHEST_MS,
        Err(_) => text.len() > 7 && text.bytes().skip(1).take(6).all(|byte| byte.is_ascii_digit()),
    };
    match text.chars().next() {
        Some('-') if is_far => Some(i64::MIN),
        Some('+' | '0'..='9') if is_far => Some(i64::MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Stored;

    #[test]
    fn a_record_is_known_by_its_token_in_both_shapes() {
        let nested = r#"{"session":{"token":"t1","userId":"u1","expiresAt":"2030-01-01T00:00:00.000Z"},"user":{"id":"u1"}}"#;
        let flat = r#"{"token":"t1","userId":7,"expiresAt":1893456000000}"#;
        let record = Record::parse("t1", nested).unwrap();
        assert_eq!((record.user_id.as_str(), record.expires_at()), ("u1", Some(1_893_456_000_000)));
        let record = Record::parse("t1", flat).unwrap();
        assert_eq!((record.user_id.as_str(), record.expires_at()), ("7", Some(1_893_456_000_000)));
    }

    #[test]
    fn anything_else_is_not_a_record() {
        for json in [
            "",
            "5",
            "null",
            "[\"t1\"]",
            "\"t1\"",
            "{",
            r#"{"token":"t1"}"#,
            r#"{"token":"t1","userId":""}"#,
            r#"{"token":"t1","userId":null}"#,
            r#"{"token":"t2","userId":"u1","note":"t1"}"#,
            r#"{"session":{"token":"t2","userId":"u1"},"user":{"name":"t1"}}"#,
            r#"{"session":null,"user":{"token":"t1"}}"#,
            r#"{"token":"t2","session":{"token":"t1","userId":"u1"}}"#,
            r#"{"token":"t1","session":{"token":"t1","userId":"u1"}}"#,
        ] {
            assert!(Record::parse("t1", json).is_none(), "{json}");
        }
    }

    #[test]
    fn impersonation_is_read_from_the_session_half_and_two_factor_from_the_user_half() {
        let record = |session: &str, user: &str| {
            let json =
                format!(r#"{{"session":{{"token":"t1","userId":"u1"{session}}},"user":{user}}}"#);
            let record = Record::parse("t1", &json).unwrap();
            (record.is_impersonated(), record.has_two_factors())
        };
        assert_eq!(record(r#","impersonatedBy":"admin""#, "{}"), (true, false));
        assert_eq!(record(r#","impersonatedBy":7"#, r#"{"twoFactorEnabled":true}"#), (true, true));
        for none in ["null", "\"\"", "false"] {
            assert_eq!(record(&format!(r#","impersonatedBy":{none}"#), "null"), (false, false));
        }
        for off in ["false", "null", "\"true\""] {
            let user = format!(r#"{{"twoFactorEnabled":{off},"impersonatedBy":"admin"}}"#);
            assert_eq!(record(r#","twoFactorEnabled":true"#, &user), (false, false));
        }
    }

    #[test]
    fn a_token_that_json_escapes_is_still_its_own() {
        // `contains` would miss it; such tokens are not session tokens (Better Auth's are
        // [a-zA-Z0-9]) and stay plain values.
        let json = r#"{"token":"a\"b","userId":"u"}"#;
        assert!(Record::parse("a\"b", json).is_none());
    }

    #[test]
    fn a_record_belongs_to_the_token_of_its_session() {
        for (is_own, json) in [
            (true, r#"{"token":"t","userId":"u"}"#),
            (true, r#"{"userId":"u","token":"t","user":{"token":"b:t"}}"#),
            (true, r#"{"session":{"expiresAt":5,"token":"t","userId":"u"},"user":{}}"#),
            (
                true,
                r#"{"user":{"token":"b:t"},"session":{"userAgent":"{}","token":"t","userId":"u"}}"#,
            ),
            (true, r#"{ "token" : "t", "userId" : "u" }"#),
            (false, r#"{"token":"b:t","userId":"u"}"#),
            (false, r#"{"session":{"token":"b:t","userId":"u"},"user":{"token":"t"}}"#),
            (false, r#"{"session":{"extra":{"token":"t"},"token":"b:t","userId":"u"},"user":{}}"#),
            (
                false,
                r#"{"session":{"extra":[{"token":"t"}],"token":"b:t","userId":"u"},"user":{}}"#,
            ),
            (false, r#"{"user":{"token":"t"},"session":{"token":"b:t","userId":"u"}}"#),
            (false, r#"{"session":{"token":"tt","userId":"u"},"user":{}}"#),
        ] {
            let stored = Stored::record(json);
            assert_eq!(
                (stored.is_record_of("t"), stored.is_record_of_another("t")),
                (is_own, !is_own),
                "{json}"
            );
        }
    }

    #[test]
    fn instants_are_read_as_javascript_writes_them() {
        assert_eq!(instant(r#""1970-01-01T00:00:01.500Z""#), Some(1500));
        assert_eq!(instant("1500"), Some(1500));
        assert_eq!(instant(r#""soon""#), None);
        assert_eq!(instant("null"), None);
        for past in ["-1e300", "-1e999", r#""-1e300""#, r#""-271821-04-20T00:00:00.000Z""#] {
            assert_eq!(instant(past), Some(i64::MIN), "{past}");
        }
        for future in ["1e300", "1e999", r#""1e300""#, r#""+275760-09-13T00:00:00.000Z""#] {
            assert_eq!(instant(future), Some(i64::MAX), "{future}");
        }
        for other in [r#""2026""#, r#""-""#, r#""é1234567""#, r#""""#] {
            assert_eq!(instant(other), None, "{other}");
        }
    }
}
