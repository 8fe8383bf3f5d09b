//! The session cookie: `session_store::CookieVerifier` as a JavaScript class.
//!
//! Threads: on the JavaScript thread of the object.

use napi::{Either, Env, JsString, Result};
use napi_derive::napi;
use session_store::{CookieNames, Refusal};

use crate::text::with_utf8;

/// Most `Cookie` headers are shorter, in bytes.
const HEADER_BYTES: usize = 1024;

/// What the cookies of a request hold; their signatures are valid.
#[napi(object)]
pub struct SessionCookie {
    /// The token of the session.
    pub token: String,
    /// Whether the session is not to be extended.
    pub dont_remember: bool,
    /// Whether the request has a cookie of Better Auth's cookie cache.
    pub has_data: bool,
}

/// Reads session cookies that were signed with one secret.
#[napi]
pub struct CookieVerifier(session_store::CookieVerifier);

#[napi]
impl CookieVerifier {
    /// `secret`: Better Auth's. The others are the names of its cookies.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        secret: String,
        session_token: String,
        dont_remember: String,
        session_data: String,
    ) -> Self {
        let names = CookieNames { session_token, dont_remember, session_data };
        CookieVerifier(session_store::CookieVerifier::new(&secret, names))
    }

    /// Reads the session cookie of a `Cookie` header. Returns the reason, by its name in the gate's
    /// `stats()`, when there is none that is valid.
    #[napi(catch_unwind, ts_return_type = "SessionCookie | 'noCookie' | 'badSignature'")]
    pub fn verify(
        &self,
        env: &Env,
        header: JsString,
    ) -> Result<Either<SessionCookie, &'static str>> {
        let cookie = with_utf8::<HEADER_BYTES, _>(env, &header, |header| self.0.verify(header))?;
        Ok(match cookie {
            Ok(session_store::SessionCookie { token, dont_remember, has_data }) => {
                Either::A(SessionCookie { token, dont_remember, has_data })
            }
            Err(Refusal::NoCookie) => Either::B("noCookie"),
            Err(Refusal::BadSignature) => Either::B("badSignature"),
        })
    }
}
