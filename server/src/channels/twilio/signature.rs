//! Checks `X-Twilio-Signature`: who does not know the account's token cannot tell us anything.
//!
//! HMAC-SHA1 over the public URL as Twilio called it and the sorted parameters of the form
//! (<https://www.twilio.com/docs/usage/webhooks/webhooks-security>). The URL comes from configuration: behind a reverse
//! proxy `Host` is not what Twilio saw.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac, digest::InvalidLength};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::super::{WebhookError, WebhookRequest, forms::Form};

/// The header that holds the signature.
pub const HEADER: &str = "x-twilio-signature";

/// Checks a webhook and gives its parameters: those of a form body, none for other bodies.
///
/// # Errors
/// [`WebhookError::Forbidden`] when the signature is missing, no base64, or wrong.
pub fn check(token: &SecretString, request: &WebhookRequest) -> Result<Form, WebhookError> {
    let forbidden = |what: &str| WebhookError::Forbidden(what.to_owned());
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
    // Twilio signs the URL sometimes with and sometimes without its standard port; its own libraries try both.
    let signed = spellings(&request.url).iter().any(|url| verifies(token, url, &form, &given));
    if signed && body_fits {
        Ok(form)
    } else {
        Err(forbidden("X-Twilio-Signature is wrong: check the token, and that the public address is what Twilio calls"))
    }
}

/// The signature of a URL and its form, in base64, as Twilio sends it.
#[cfg(test)]
pub(super) fn sign(token: &SecretString, url: &str, form: &Form) -> String {
    STANDARD.encode(mac(token, url, form).unwrap().finalize().into_bytes())
}

fn verifies(token: &SecretString, url: &str, form: &Form, given: &[u8]) -> bool {
    mac(token, url, form).is_ok_and(|mac| mac.verify_slice(given).is_ok())
}

fn mac(token: &SecretString, url: &str, form: &Form) -> Result<Hmac<Sha1>, InvalidLength> {
    let mut pairs: Vec<_> = form.pairs().collect();
    pairs.sort();
    pairs.dedup();
    let mut mac = Hmac::<Sha1>::new_from_slice(token.expose_secret().as_bytes())?;
    mac.update(url.as_bytes());
    for (key, value) in pairs {
        mac.update(key.as_bytes());
        mac.update(value.as_bytes());
    }
    Ok(mac)
}

/// The URL as it is, with its standard port, and without it.
fn spellings(url: &str) -> Vec<String> {
    let mut urls = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return urls };
    let port = if scheme == "https" { ":443" } else { ":80" };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if let Some(bare) = authority.strip_suffix(port) {
        urls.push(format!("{scheme}://{bare}{path}"));
    } else if !authority.rsplit(']').next().unwrap_or_default().contains(':') {
        urls.push(format!("{scheme}://{authority}{port}{path}"));
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
    fn takes_the_url_with_and_without_its_standard_port() {
        let with_port = URL.replace("mycompany.com", "mycompany.com:443");
        assert!(check(&token(), &request(&with_port, BODY, SIGNATURE)).is_ok());
        let signed_with_port = sign(&token(), &with_port, &Form::parse(BODY.as_bytes()));
        assert!(check(&token(), &request(URL, BODY, &signed_with_port)).is_ok());
        let other_port = URL.replace("mycompany.com", "mycompany.com:8443");
        assert!(check(&token(), &request(&other_port, BODY, SIGNATURE)).is_err());
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
