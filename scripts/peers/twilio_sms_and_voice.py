"""What Twilio's own Python library signs, accepts and sends. Webhooks have the parameters of Twilio's documentation:
https://www.twilio.com/docs/messaging/guides/webhook-request and https://www.twilio.com/docs/voice/twiml#request-parameters."""

import hashlib
import urllib.parse

from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator, get_signature_algorithm
from twilio.rest import Client
from twilio.twiml.voice_response import Gather, VoiceResponse

TOKEN = "a-token-of-the-account"
SHARED = "a-secret-of-a-shared-key"
BASE = "https://alerts.example.org/webhooks/7"
IDS = "d=0198b6a4-7c1e-7d7e-9c39-2f2f6a1b0001&n=1"
ACCOUNT = "AC" + 32 * "0"

INBOUND = [
    ("ToCountry", "IN"), ("SmsMessageSid", "SM11"), ("NumMedia", "0"), ("FromZip", ""), ("SmsSid", "SM11"),
    ("SmsStatus", "received"), ("Body", "हाँ, it's 100% ok & done+1 = 😀"), ("To", "+15550001111"), ("MessagingServiceSid", "MG11"),
    ("NumSegments", "1"), ("MessageSid", "SM11"), ("AccountSid", ACCOUNT), ("From", "+919812345678"), ("ApiVersion", "2010-04-01"),
]
STATUS = [
    ("SmsSid", "SM12"), ("SmsStatus", "undelivered"), ("MessageStatus", "undelivered"), ("To", "+919812345678"),
    ("MessageSid", "SM12"), ("AccountSid", ACCOUNT), ("From", "+15550001111"), ("ApiVersion", "2010-04-01"), ("ErrorCode", "30005"),
]
CALL = [
    ("Called", "+919812345678"), ("CallSid", "CA13"), ("CallStatus", "in-progress"), ("AnsweredBy", "human"), ("Digits", "1"),
    ("From", "+15550001111"), ("To", "+919812345678"), ("Direction", "outbound-api"), ("ApiVersion", "2010-04-01"),
    ("AccountSid", ACCOUNT), ("FinishedOnKey", ""), ("msg", "Gather End"),
]


class Params(list):
    """A form as web frameworks give it to the validator: keys may be there several times."""

    def __iter__(self):
        return (key for key, _ in super().__iter__())

    def getlist(self, key):
        return [value for name, value in super().__iter__() if name == key]


def encode(pairs) -> str:
    return urllib.parse.urlencode(pairs)


def params(body: str):
    return Params(urllib.parse.parse_qsl(body, keep_blank_values=True))


def signatures():
    validator = RequestValidator(TOKEN)
    cases = []

    def case(name, url, body, signature, is_json=False, settings=None):
        given = body if is_json else params(body)
        by = RequestValidator(SHARED) if settings else validator
        accepted = signature is not None and by.validate(url, given, signature, get_signature_algorithm(settings))
        kind = "application/json" if is_json else "application/x-www-form-urlencoded; charset=utf-8"
        cases.append({"name": name, "url": url, "type": kind, "body": body, "signature": signature,
                      "settings": settings, "accepted": accepted})

    def family(name, url, pairs):
        body = encode(pairs)
        signature = validator.compute_signature(url, params(body))
        with_port = validator.compute_signature(url.replace(".org/", ".org:443/"), params(body))
        first, last = pairs[0], pairs[-1]
        case(f"{name}: as sent", url, body, signature)
        case(f"{name}: signed with the standard port", url, body, with_port)
        case(f"{name}: parameters in reverse", url, encode(pairs[::-1]), signature)
        case(f"{name}: a space as %20", url, body.replace("+", "%20"), signature)
        case(f"{name}: a parameter twice, the same", url, encode([*pairs, first]), signature)
        case(f"{name}: a parameter twice, another value", url, encode([*pairs, (first[0], first[1] + "x")]), signature)
        case(f"{name}: a parameter twice, another value first", url, encode([(first[0], first[1] + "x"), *pairs]), signature)
        case(f"{name}: a value changed", url, encode([*pairs[:-1], (last[0], last[1] + "1")]), signature)
        case(f"{name}: a key changed", url, encode([*pairs[:-1], (last[0] + "1", last[1])]), signature)
        case(f"{name}: a parameter left out", url, encode(pairs[1:]), signature)
        case(f"{name}: a parameter added", url, encode([*pairs, ("Extra", "1")]), signature)
        case(f"{name}: an empty parameter added", url, encode([*pairs, ("Extra", "")]), signature)
        case(f"{name}: another path", url.replace("/7/", "/8/"), body, signature)
        case(f"{name}: another host", url.replace("alerts.", "other."), body, signature)
        case(f"{name}: another port", url.replace(".org/", ".org:8443/"), body, signature)
        case(f"{name}: plain http", url.replace("https:", "http:"), body, signature)
        case(f"{name}: a query more", url + ("&" if "?" in url else "?") + "x=1", body, signature)
        if "&n=1" in url:
            case(f"{name}: the query in another order", url.replace(IDS, "&".join(IDS.split("&")[::-1])), body, signature)
            case(f"{name}: another attempt", url.replace("&n=1", "&n=2"), body, signature)
        case(f"{name}: another account's token", url, body, RequestValidator("other").compute_signature(url, params(body)))
        case(f"{name}: no signature", url, body, None)
        case(f"{name}: an empty signature", url, body, "")
        case(f"{name}: a signature that is cut", url, body, signature[:-4])
        case(f"{name}: a signature in small letters", url, body, signature.lower())
        case(f"{name}: HMAC-SHA256 where SHA1 is due", url, body, validator.compute_signature(url, params(body), "HMAC_SHA256"))

    family("a message comes in", f"{BASE}/inbound", INBOUND)
    family("a status", f"{BASE}/status?{IDS}", STATUS)
    family("a step of a call", f"{BASE}/voice?{IDS}&r=0", CALL)

    body = '{"MessageSid": "SM14", "words": "हाँ"}'
    url = f"{BASE}/inbound?bodySHA256={hashlib.sha256(body.encode()).hexdigest()}"
    signature = validator.compute_signature(url, {})
    case("a body that is no form: as sent", url, body, signature, is_json=True)
    case("a body that is no form: a byte changed", url, body.replace("14", "15"), signature, is_json=True)
    case("a body that is no form: another hash", url[:-1] + ("0" if url[-1] != "0" else "1"), body, signature, is_json=True)

    url, body, shared = f"{BASE}/inbound", encode(INBOUND), RequestValidator(SHARED)
    key, by_shared = "key=webhooks_sharedkey_1", shared.compute_signature(f"{BASE}/inbound", params(encode(INBOUND)), "HMAC_SHA256")
    case("a shared key: as sent", url, body, by_shared, settings=f"{key},algorithm=HMAC_SHA256")
    case("a shared key: in small letters and with spaces", url, body, by_shared, settings=f"{key}, algorithm=hmac_sha256 ")
    case("a shared key: the algorithm first", url, body, by_shared, settings=f"algorithm=HMAC_SHA256,{key}")
    case("a shared key: SHA1", url, body, shared.compute_signature(url, params(body)), settings=f"{key},algorithm=HMAC_SHA1")
    case("a shared key: another algorithm is named", url, body, by_shared, settings=f"{key},algorithm=HMAC_SHA1")
    case("a shared key: an algorithm of the future", url, body, by_shared, settings=f"{key},algorithm=HMAC_SHA512")
    case("a shared key: the header left out", url, body, by_shared)
    case("a shared key: a value changed", url, body + "1", by_shared, settings=f"{key},algorithm=HMAC_SHA256")
    case("a shared key: signed with the account's token", url, body, validator.compute_signature(url, params(body), "HMAC_SHA256"),
         settings=f"{key},algorithm=HMAC_SHA256")
    return {"token": TOKEN, "shared": SHARED, "cases": cases}


class Recorder(HttpClient):
    """Keeps what the library would send."""

    def __init__(self):
        super().__init__(None, False, None)
        self.last = None

    def request(self, method, url, params=None, data=None, headers=None, auth=None, timeout=None, allow_redirects=False):
        pairs = []
        for key, value in (data or {}).items():
            pairs += [[key, one] for one in value] if isinstance(value, list) else [[key, str(value)]]
        self.last = {"method": method, "path": urllib.parse.urlparse(url).path, "auth": list(auth), "form": sorted(pairs)}
        return Response(201, '{"sid": "SM1"}')


def requests():
    recorder = Recorder()
    client = Client(ACCOUNT, TOKEN, http_client=recorder)
    callback = f"{BASE}/status?{IDS}#rc=5&rp=all"
    said = {}
    client.messages.create(to="+919812345678", from_="+15550001111", body="नमस्ते", status_callback=callback)
    said["sms from a number"] = recorder.last
    client.messages.create(
        to="+919812345678", messaging_service_sid="MG" + 32 * "0", body="नमस्ते", status_callback=callback
    )
    said["sms from a messaging service"] = recorder.last
    client.calls.create(
        to="+919812345678", from_="+15550001111", url=f"{BASE}/voice?{IDS}#rc=5&rp=all", method="POST",
        status_callback=callback, status_callback_method="POST",
        status_callback_event=["initiated", "ringing", "answered", "completed"], timeout=30, machine_detection="Enable",
    )
    said["call"] = recorder.last
    return said


def scripts():
    question = VoiceResponse()
    gather = Gather(
        input="dtmf", num_digits=1, timeout=5, finish_on_key="", action=f"{BASE}/voice?{IDS}&r=0", method="POST"
    )
    gather.say("Is the water back? Press 1 for yes & 2 for <no>.", language="en-IN")
    question.append(gather)
    question.redirect(f"{BASE}/voice?{IDS}&r=1", method="POST")
    thanks = VoiceResponse()
    thanks.say("Thank you.", language="en-IN")
    thanks.hangup()
    machine = VoiceResponse()
    machine.hangup()
    return {"question": str(question), "thanks": str(thanks), "machine": str(machine)}
