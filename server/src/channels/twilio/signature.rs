//! Checks `X-Twilio-Signature`: who does not know the account's token cannot tell us anything.
//!
//! HMAC-SHA1 over the public URL as Twilio called it and the sorted parameters of the form
//! (<https://www.twilio.com/docs/usage/webhooks/webhooks-security>). The URL comes from configuration: behind a reverse
//! proxy `Host` is not what Twilio saw. Where the account signs with a shared key, another header says so and names the
//! algorithm. `server/tests/it/peers` holds the verdicts of Twilio's own library.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac, digest::InvalidLength};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::super::{WebhookError, WebhookRequest, forms::Form};

/// The header that holds the signature.
pub const HEADER: &str = "x-twilio-signature";

/// The header of webhooks that are signed with a shared key: `key=<id>,algorithm=HMAC_SHA256`.
pub const SETTINGS_HEADER: &str = "x-twilio-webhooks-signature-settings";

/// What Twilio may sign with.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// The account's auth token.
    pub token: &'a SecretString,
    /// The secret of the shared key, where the account signs with one.
    pub shared: Option<&'a SecretString>,
}

/// How a webhook was signed.
struct Signer<'a> {
    key: &'a SecretString,
    is_sha256: bool,
}

/// Checks a webhook and gives its parameters: those of a form body, none for other bodies.
///
/// # Errors
/// [`WebhookError::Forbidden`] when the signature is missing, no base64, or wrong.
pub fn check(keys: Keys<'_>, request: &WebhookRequest) -> Result<Form, WebhookError> {
    let signer = signer(keys, request)?;
    let given = request.headers.get(HEADER).ok_or_else(|| forbidden("X-Twilio-Signature is missing"))?;
    let given = STANDARD.decode(given).map_err(|_| forbidden("X-Twilio-Signature is not base64"))?;
    let hashed_body = Form::parse(request.query.as_bytes()).text("bodySHA256");
    let form = match &hashed_body {
        Some(_) => Form::default(),
        None => Form::parse(&request.body),
    };
    let body_fits = hashed_body.is_none_or(|expected| {
        let actual = hex::encode(Sha256::digest(&request.body));
        actual.as_bytes().ct_eq(expected.to_ascii_lowercase().as_bytes()).into()
    });
    // Twilio signs the URL sometimes with and sometimes without its port; its own libraries try both.
    let signed = spellings(&request.url).iter().any(|url| signer.verifies(url, &form, &given));
    if signed && body_fits {
        Ok(form)
    } else {
        Err(forbidden("X-Twilio-Signature is wrong: check the token, and that the public address is what Twilio calls"))
    }
}

fn forbidden(what: &str) -> WebhookError {
    WebhookError::Forbidden(what.to_owned())
}

/// By which key and algorithm the webhook says that it is signed. Who leaves the header out must know the token.
fn signer<'a>(keys: Keys<'a>, request: &WebhookRequest) -> Result<Signer<'a>, WebhookError> {
    let Some(settings) = request.headers.get(SETTINGS_HEADER).filter(|value| !value.is_empty()) else {
        return Ok(Signer { key: keys.token, is_sha256: false });
    };
    let settings = settings.to_str().unwrap_or_default();
    let pairs = settings.split(',').filter_map(|part| part.split_once('='));
    let algorithm = pairs.filter(|(name, _)| name.trim() == "algorithm").map(|(_, value)| value.trim()).next();
    let is_sha256 = match algorithm.map(str::to_ascii_uppercase).as_deref() {
        Some("HMAC_SHA256") => true,
        Some("HMAC_SHA1") => false,
        // The account's own signature, in whatever words.
        None | Some("") => return Ok(Signer { key: keys.token, is_sha256: false }),
        Some(_) => return Err(forbidden("it is signed by an algorithm that this version does not know")),
    };
    let key = keys.shared.ok_or_else(|| forbidden("it is signed with a shared key: give its secret as webhook_key"))?;
    Ok(Signer { key, is_sha256 })
}

impl Signer<'_> {
    fn verifies(&self, url: &str, form: &Form, given: &[u8]) -> bool {
        if self.is_sha256 {
            mac::<Hmac<Sha256>>(self.key, url, form).is_ok_and(|mac| mac.verify_slice(given).is_ok())
        } else {
            mac::<Hmac<Sha1>>(self.key, url, form).is_ok_and(|mac| mac.verify_slice(given).is_ok())
        }
    }
}

/// The signature of a URL and its form, in base64, as Twilio sends it.
#[cfg(test)]
pub(super) fn sign(token: &SecretString, url: &str, form: &Form) -> String {
    STANDARD.encode(mac::<Hmac<Sha1>>(token, url, form).unwrap().finalize().into_bytes())
}

fn mac<M: Mac + KeyInit>(key: &SecretString, url: &str, form: &Form) -> Result<M, InvalidLength> {
    let mut pairs: Vec<_> = form.pairs().collect();
    pairs.sort();
    pairs.dedup();
    let mut mac = <M as KeyInit>::new_from_slice(key.expose_secret().as_bytes())?;
    mac.update(url.as_bytes());
    for (key, value) in pairs {
        mac.update(key.as_bytes());
        mac.update(value.as_bytes());
    }
    Ok(mac)
}

/// The URL as it is, and without its port (whatever it is), or with its standard port where it has none.
fn spellings(url: &str) -> Vec<String> {
    let mut urls = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return urls };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A colon inside brackets belongs to an address.
    match authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
        Some((host, _)) => urls.push(format!("{scheme}://{host}{path}")),
        None => {
            let port = if scheme == "https" { 443 } else { 80 };
            urls.push(format!("{scheme}://{authority}:{port}{path}"));
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};

    use super::*;
    use crate::channels::testing::webhook;

    /// The example of Twilio's documentation.
    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const BODY: &str =
        "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    fn token() -> SecretString {
        SecretString::from("12345")
    }

    fn check(token: &SecretString, request: &WebhookRequest) -> Result<Form, WebhookError> {
        super::check(Keys { token, shared: None }, request)
    }

    fn request(url: &str, body: &str, signature: &str) -> WebhookRequest {
        let mut request = webhook(Method::POST, "", "", body.to_owned());
        request.query = url.split_once('?').map_or("", |(_, query)| query).to_owned();
        request.url = url.to_owned();
        request.headers.insert(HEADER, HeaderValue::from_str(signature).unwrap());
        request
    }

    #[test]
    fn takes_the_documented_example() {
        let form = check(&token(), &request(URL, BODY, SIGNATURE)).unwrap();
        assert_eq!(form.text("Digits").as_deref(), Some("1234"));
        assert_eq!(sign(&token(), URL, &form), SIGNATURE);
    }

    #[test]
    fn takes_the_example_in_any_order_of_its_parameters() {
        let mut pairs: Vec<_> = BODY.split('&').collect();
        pairs.reverse();
        assert!(check(&token(), &request(URL, &pairs.join("&"), SIGNATURE)).is_ok());
    }

    #[test]
    fn takes_the_url_with_and_without_its_port() {
        let with_port = URL.replace("mycompany.com", "mycompany.com:443");
        assert!(check(&token(), &request(&with_port, BODY, SIGNATURE)).is_ok());
        let signed_with_port = sign(&token(), &with_port, &Form::parse(BODY.as_bytes()));
        assert!(check(&token(), &request(URL, BODY, &signed_with_port)).is_ok());
        let other_port = URL.replace("mycompany.com", "mycompany.com:8443");
        assert!(check(&token(), &request(&other_port, BODY, SIGNATURE)).is_ok(), "as Twilio's libraries do");
        let signed_with_other = sign(&token(), &other_port, &Form::parse(BODY.as_bytes()));
        assert!(check(&token(), &request(URL, BODY, &signed_with_other)).is_err(), "a port that we do not have");
    }

    #[test]
    fn takes_a_shared_key_only_where_it_is_known_and_the_header_says_so() {
        let (shared, form) = (SecretString::from("shared"), Form::parse(BODY.as_bytes()));
        let by_sha256 = mac::<Hmac<Sha256>>(&shared, URL, &form).unwrap().finalize().into_bytes();
        let mut signed = request(URL, BODY, &STANDARD.encode(by_sha256));
        let with = |shared, request: &WebhookRequest| super::check(Keys { token: &token(), shared }, request).is_ok();
        assert!(!with(Some(&shared), &signed), "the header is missing");
        let settings = HeaderValue::from_static("key=webhooks_sharedkey_1, algorithm=HMAC_SHA256");
        signed.headers.insert(SETTINGS_HEADER, settings);
        assert!(with(Some(&shared), &signed));
        assert!(!with(None, &signed), "no shared key is set");
        signed.headers.insert(SETTINGS_HEADER, HeaderValue::from_static("key=k,algorithm=HMAC_MD5"));
        assert!(!with(Some(&shared), &signed), "an algorithm of the future");
        let mut by_token = request(URL, BODY, SIGNATURE);
        by_token.headers.insert(SETTINGS_HEADER, HeaderValue::from_static("key=k,algorithm=HMAC_SHA1"));
        assert!(!with(Some(&shared), &by_token), "the token is not the shared key");
    }

    #[test]
    fn refuses_what_was_tampered_with() {
        let refused = |request: &WebhookRequest| matches!(check(&token(), request), Err(WebhookError::Forbidden(_)));
        assert!(refused(&request(URL, &BODY.replace("1234&", "1235&"), SIGNATURE)), "the body");
        assert!(refused(&request(URL, &format!("{BODY}&Extra=1"), SIGNATURE)), "a parameter more");
        assert!(refused(&request(&URL.replace("bar=2", "bar=3"), BODY, SIGNATURE)), "the address");
        assert!(refused(&request(URL, BODY, "AAAADt4T1cUTdK1PDd93/VVr8B8=")), "the signature");
        assert!(refused(&request(URL, BODY, "not base64!")), "garbage");
        let mut unsigned = request(URL, BODY, SIGNATURE);
        unsigned.headers.clear();
        assert!(refused(&unsigned), "no signature");
        assert!(check(&SecretString::from("54321"), &request(URL, BODY, SIGNATURE)).is_err(), "another token");
    }

    #[test]
    fn checks_the_hash_of_a_body_that_is_no_form() {
        let body = r#"{"property": "value", "boolean": true}"#;
        let url = format!("{URL}&bodySHA256={}", hex::encode(Sha256::digest(body)));
        let signature = sign(&token(), &url, &Form::default());
        assert!(check(&token(), &request(&url, body, &signature)).is_ok());
        assert!(check(&token(), &request(&url, "{}", &signature)).is_err());
    }

    #[test]
    fn takes_the_json_example_of_the_official_libraries() {
        // The constants of twilio-python's tests/unit/test_request_validator.py.
        let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        let url = format!("{URL}&bodySHA256={hash}");
        let signature = "a9nBmqA0ju/hNViExpshrM61xv4=";
        assert_eq!(sign(&token(), &url, &Form::default()), signature);
    }

    #[test]
    fn repeated_parameters_are_signed_as_the_official_libraries_sign_them() {
        // twilio-python takes the set of values of a repeated key, sorted.
        let once = sign(&token(), URL, &Form::parse(b"a=1&a=2"));
        assert_eq!(sign(&token(), URL, &Form::parse(b"a=2&a=1&a=2")), once);
    }
}
