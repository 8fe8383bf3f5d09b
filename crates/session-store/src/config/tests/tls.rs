//! TLS, by its option and by the URL.

use serde_json::{Value, json};

use super::support::*;
use crate::config::*;

#[test]
fn tls_and_the_scheme() {
    let with = |url: &str, tls: Value| json!({ "url": url, "tls": tls });
    for on in [json!(true), json!({}), json!({ "ca": PEM })] {
        let text = problem(with("redis://h", on.clone()));
        assert!(text.starts_with("tls: ") && text.contains("rediss:"), "{text}");
        assert!(server(with("rediss://h", on.clone())).tls.is_some());
        assert!(server(json!({ "host": "h", "tls": on })).tls.is_some());
    }
    assert!(
        problem(with("rediss://h", json!(false))).starts_with("tls: false contradicts the url")
    );
    assert_eq!(server(with("redis://h", json!(false))), url("redis://h"));
    assert_eq!(server(with("rediss://h", json!(true))), url("rediss://h"));
    assert_eq!(server(json!({ "host": "h", "tls": {} })), url("rediss://h"));
    assert_eq!(server(json!({ "host": "h", "tls": false })), url("redis://h"));
}

#[test]
fn tls_members() {
    let text = |tls: Value| problem(json!({ "host": "h", "tls": tls }));
    assert_eq!(text(json!({ "cert": PEM })), "tls: cert and key go together; give both or neither");
    assert_eq!(text(json!({ "key": PEM })), "tls: cert and key go together; give both or neither");
    assert_eq!(
        text(json!({ "caFile": "x" })),
        "tls: unknown member \"caFile\": an object takes ca, cert, key, servername, minVersion, dangerouslyDisableVerification"
    );
    let refused = text(json!({ "rejectUnauthorized": false }));
    assert!(refused.starts_with("tls: rejectUnauthorized is not supported"), "{refused}");
    assert!(refused.contains("dangerouslyDisableVerification"), "{refused}");
    for version in [json!("TLSv1.1"), json!(1.3), json!("1.3")] {
        assert!(text(json!({ "minVersion": version })).contains("minVersion must be \"TLSv1.2\""));
    }
    assert!(text(json!({ "servername": "" })).starts_with("tls: servername must be the host name"));
    assert!(text(json!({ "servername": 1 })).ends_with("must be a string, not a number"));
    assert!(
        text(json!({ "dangerouslyDisableVerification": 1 }))
            .ends_with("must be true or false, not a number")
    );
    let both = json!({ "dangerouslyDisableVerification": true, "ca": PEM });
    assert!(text(both).starts_with("tls: ca has no use with dangerouslyDisableVerification"));
    let of = |tls: Value| server(json!({ "host": "h", "tls": tls })).tls.unwrap();
    assert_eq!(of(json!({ "minVersion": "TLSv1.2" })), Tls::default());
    assert_eq!(of(json!({ "minVersion": "TLSv1.3" })).min_version, TlsVersion::V13);
    assert_eq!(of(json!({ "servername": "[::1]" })).servername.as_deref(), Some("::1"));
    assert!(of(json!({ "dangerouslyDisableVerification": true })).unverified);
    assert!(text(json!({ "ca": "/etc/ca.pem" })).starts_with("tls: ca must be PEM text"));
    assert!(text(json!({ "ca": format!("{PEM}\0") })).contains("NUL"));
    assert!(text(json!({ "ca": [PEM] })).contains("not an array"));
    assert!(text(json!({ "ca": { "type": "Buffer", "data": [1] } })).contains("a Buffer"));
    assert!(text(json!({ "type": "Buffer", "data": [1] })).contains("a Buffer"));
    assert!(text(json!("yes")).ends_with("not a string"));
    assert!(text(json!(null)).ends_with("not null"));
    let windows = format!("\r\n{}\r\n", PEM.replace('\n', "\r\n"));
    let spelled = |pem: &str| server(json!({ "host": "h", "tls": { "ca": pem } }));
    assert_eq!(spelled(&windows), spelled(PEM));
}

#[test]
fn a_url_turns_the_check_of_certificates_off_with_the_option_only() {
    for query in [
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=CERT_NONE",
        "skip_verify=true",
        "ssl_cert_reqs=required&ssl_cert_reqs=none",
    ] {
        let at = |tls: Value| json!({ "url": format!("rediss://h?{query}"), "tls": tls });
        for tls in [json!(true), json!({ "ca": PEM })] {
            let text = problem(at(tls));
            assert!(
                text.starts_with("url: query parameter s") && text.contains("option tls.ca"),
                "{text}"
            );
        }
        assert!(
            server(at(json!({ "dangerouslyDisableVerification": true }))).tls.unwrap().unverified
        );
    }
    let unverified = json!({ "dangerouslyDisableVerification": true });
    let both = json!({ "url": "rediss://h?ssl_cert_reqs=required", "tls": unverified });
    assert!(problem(both).starts_with("url: query parameter ssl_cert_reqs=required contradicts"));
    let without_tls = "url: query parameter ssl_cert_reqs=required is about TLS, which is off";
    assert!(problem(json!({ "url": "redis://h?ssl_cert_reqs=required" })).starts_with(without_tls));
    for unclear in ["ssl_cert_reqs=maybe", "ssl_check_hostname=false", "skip_verify=2"] {
        let name = unclear.split('=').next().unwrap();
        let text = problem(json!({ "url": format!("rediss://h?{unclear}") }));
        assert!(text.starts_with(&format!("url: query parameter {name} must be ")), "{text}");
    }
}
