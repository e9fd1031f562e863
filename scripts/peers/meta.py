"""What pywa, a Python library of the Cloud API, accepts, reads and sends. The notices have the shapes of Meta's documentation:
https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples and .../components."""

import hashlib
import hmac
import json
import logging

import httpx
from pywa import WhatsApp, types
from pywa.types import templates
from pywa.types.base_update import RawUpdate

logging.disable(logging.WARNING)

SECRET = "a-secret-of-the-app"
PHONE_ID = "106540352242922"
DELIVERY = "0198b6a4-7c1e-7d7e-9c39-2f2f6a1b0001"
PERSON = {"profile": {"name": "Asha"}, "wa_id": "919812345678", "user_id": "IN.13491208655302741918"}
NAMELESS = {"profile": {"name": "Ravi", "username": "ravi"}, "user_id": "IN.2000000000000000001"}


def notice(value, field="messages"):
    metadata = {"display_phone_number": "15550783881", "phone_number_id": PHONE_ID}
    value = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    return {"object": "whatsapp_business_account", "entry": [{"id": "102290129340398", "changes": [{"value": value, "field": field}]}]}


def message(number, kind, content, person=PERSON, **more):
    sender = {"from_user_id": person["user_id"]} | ({"from": person["wa_id"]} if "wa_id" in person else {})
    one = {**sender, "id": f"wamid.m{number}", "timestamp": str(1749416383 + number), "type": kind, kind: content, **more}
    return notice({"contacts": [person], "messages": [one]})


def status(number, word, **more):
    one = {
        "id": f"wamid.s{number}", "status": word, "timestamp": str(1750030073 + number), "recipient_id": PERSON["wa_id"],
        "recipient_user_id": PERSON["user_id"], "biz_opaque_callback_data": f"{DELIVERY}:2", **more,
    }
    return notice({"contacts": [PERSON], "statuses": [one]})


CONTEXT = {"from": "15550783881", "id": "wamid.asked"}
PRICING = {"billable": True, "pricing_model": "PMP", "category": "utility", "type": "regular"}
MEDIA = {"mime_type": "image/jpeg", "sha256": "SfInY0gGKTsJlUWbwxC1k+FAD0FZHvzwfpvO0zX0GUI=", "id": "1003383421387256"}

NOTICES = {
    "text": message(1, "text", {"body": "हाँ 😀"}),
    "text that answers": message(2, "text", {"body": "yes"}, context=CONTEXT),
    "text without a phone number": message(3, "text", {"body": "no number"}, person=NAMELESS),
    "button of a template": message(4, "button", {"payload": "yes", "text": "Yes, it is back"}, context=CONTEXT),
    "reply button": message(
        5, "interactive", {"type": "button_reply", "button_reply": {"id": "no", "title": "No"}}, context=CONTEXT),
    "row of a list": message(
        6, "interactive", {"type": "list_reply", "list_reply": {"id": "4", "title": "Good", "description": "4 of 5"}}, context=CONTEXT),
    "image": message(7, "image", {**MEDIA, "caption": "the tap"}),
    "document": message(8, "document", {**MEDIA, "mime_type": "application/pdf", "filename": "bill.pdf"}),
    "voice note": message(9, "audio", {**MEDIA, "mime_type": "audio/ogg; codecs=opus", "voice": True}),
    "sticker": message(10, "sticker", {**MEDIA, "mime_type": "image/webp", "animated": False}),
    "video": message(11, "video", {**MEDIA, "mime_type": "video/mp4"}),
    "location": message(12, "location", {"latitude": 30.3165, "longitude": 78.0322, "name": "Clock Tower", "address": "Dehradun"}),
    "reaction": message(13, "reaction", {"message_id": "wamid.asked", "emoji": "👍"}),
    "contacts": message(14, "contacts", [{"name": {"formatted_name": "B", "first_name": "B"}, "phones": [{"phone": "+1", "type": "CELL"}]}]),
    "sent": status(1, "sent", pricing=PRICING),
    "delivered": status(2, "delivered", pricing=PRICING),
    "read": status(3, "read"),
    "failed": status(4, "failed", errors=[{
        "code": 131026, "title": "Message undeliverable", "message": "Message undeliverable",
        "error_data": {"details": "Message Undeliverable."}, "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"}]),
}


def client(transport=None):
    session = httpx.Client(transport=httpx.MockTransport(transport)) if transport else httpx.Client()
    return WhatsApp(phone_id=PHONE_ID, token="t", app_secret=SECRET, verify_token="v", server=None, session=session)


def sign(body: bytes, secret=SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def signatures():
    from pywa.utils import webhook_updates_validator

    cases = []

    def case(name, body, signature):
        accepted = bool(signature) and webhook_updates_validator(
            app_secret=SECRET, request_body=body.encode(), x_hub_signature=signature)
        cases.append({"name": name, "body": body, "signature": signature, "accepted": bool(accepted)})

    body = json.dumps(NOTICES["text"], ensure_ascii=False, separators=(",", ":"))
    good = sign(body.encode())
    case("as sent", body, good)
    case("with spaces, as signed", json.dumps(NOTICES["text"]), sign(json.dumps(NOTICES["text"]).encode()))
    case("letters of other scripts escaped after signing", json.dumps(NOTICES["text"], separators=(",", ":")), good)
    case("spaces added after signing", json.dumps(NOTICES["text"], ensure_ascii=False), good)
    case("a byte changed", body.replace("15550783881", "15550783882"), good)
    case("a byte more", body + " ", good)
    case("a byte less", body[:-1], good)
    case("keys in another order", json.dumps(NOTICES["text"], ensure_ascii=False, separators=(",", ":"), sort_keys=True), good)
    case("another app's secret", body, sign(body.encode(), "other"))
    case("no signature", body, None)
    case("an empty signature", body, "")
    case("a signature that is cut", body, good[:-2])
    case("a signature of SHA1", body, "sha1=" + hmac.new(SECRET.encode(), body.encode(), hashlib.sha1).hexdigest())
    case("only the prefix", body, "sha256=")
    return {"secret": SECRET, "cases": cases}


def reading(body):
    """What pywa reads in a notice."""
    value = body["entry"][0]["changes"][0]["value"]
    update = RawUpdate(json.dumps(body).encode(), hmac_header=None, update_hash="x")
    if "statuses" in value:
        one = types.MessageStatus.from_update(client(), update)
        code = getattr(one.error, "error_code", None) or getattr(one.error, "code", None) if one.error else None
        return {"status": str(one.status.value), "id": one.id, "tracker": one.tracker, "error": code, "seconds": int(one.timestamp.timestamp())}
    kind = value["messages"][0]["type"]
    detail = value["messages"][0].get(kind, {})
    if kind == "interactive":
        which = types.CallbackButton if detail["type"] == "button_reply" else types.CallbackSelection
        one = which.from_update(client(), update)
        said = {"chosen": str(one.data), "title": one.title}
    elif kind == "button":
        one = types.CallbackButton.from_update(client(), update)
        said = {"chosen": str(one.data), "title": one.title}
    else:
        one = types.Message.from_update(client(), update)
        said = spoken(one)
    answers = one.reply_to_message.id if one.reply_to_message else None
    person = one.from_user
    return {
        "message": one.id, "wa_id": person.wa_id or None, "user_id": person.bsuid, "name": person.name,
        "to": one.metadata.phone_number_id, "answers": answers, "seconds": int(one.timestamp.timestamp()), **said,
    }


def spoken(one):
    if one.text:
        return {"text": one.text}
    if one.media:
        name = getattr(one.media, "filename", None)
        return {"media": one.media.id, "mime": one.media.mime_type, "caption": one.caption, "file": name}
    if one.location:
        place = one.location
        return {"latitude": place.latitude, "longitude": place.longitude, "place": place.name}
    if one.reaction:
        return {"reaction": one.reaction.emoji}
    return {"other": str(one.type.value)}


def webhooks():
    """The notices, one in each, and what pywa reads in them. Batches, repetitions and new fields are made by the tests."""
    return {name: {"notice": body, "reading": reading(body)} for name, body in NOTICES.items()}


def requests():
    said = {}

    def answer(request):
        said["last"] = {"method": request.method, "path": request.url.path, "authorization": request.headers["authorization"],
                        "body": json.loads(request.content)}
        return httpx.Response(200, json={"messaging_product": "whatsapp", "contacts": [{"input": "1", "wa_id": "1"}], "messages": [{"id": "wamid.1"}]})

    wa = client(answer)
    to, tracker = PERSON["wa_id"], f"{DELIVERY}:1"

    def keep(case, call, *given, **more):
        call(*given, tracker=tracker, **more)
        said[case] = said.pop("last")

    keep("text", wa.send_message, to, "नमस्ते")
    keep("text that answers", wa.send_message, to, "yes", reply_to_message_id="wamid.asked")
    keep("text to a user id", wa.send_message, PERSON["user_id"], "hello")
    keep("buttons", wa.send_message, to, "Is the water back?", header="Water", footer="Reply STOP to end", buttons=[
        types.Button("Yes", callback_data="yes"), types.Button("No", callback_data="no")])
    rows = [types.SectionRow(title=t, callback_data=i, description=d) for i, t, d in
            [("1", "Bad", "1 of 5"), ("2", "Fair", None), ("3", "Good", "3 of 5"), ("4", "Great", None)]]
    keep("list", wa.send_message, to, "How was it?", buttons=types.SectionList("Choose", sections=[types.Section(title="", rows=rows)]))
    keep("image by link", wa.send_image, to, "https://files.example.org/tap.jpg", caption="the tap")
    keep("document by id", wa.send_document, to, "1003383421387256", filename="bill.pdf", caption="your bill")
    keep("location", wa.send_location, to, latitude=30.3165, longitude=78.0322, name="Clock Tower")
    keep("template", wa.send_template, to, name="water_back", language=templates.TemplateLanguage.HINDI, params=[
        templates.BodyText.params("Asha", "17"),
        templates.QuickReplyButton.params(callback_data="yes", index=0),
        templates.QuickReplyButton.params(callback_data="no", index=1)])
    return said
