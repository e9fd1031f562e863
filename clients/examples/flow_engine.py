#!/usr/bin/env python3
"""An outside flow engine that takes part through RabbitMQ alone (docs/EVENTS.md).

It asks whoever writes for the district, thanks for the answer, and ends; whoever asks for a person gets a ticket.

    pip install pika
    AMQP_URL=amqp://guest:guest@localhost/%2f python3 flow_engine.py

The server runs with events.publish, events.commands and events.outside_flows set to true. State is kept in memory here; an
engine for real use keeps it, and the sequence that it has seen of each conversation, where it survives.
"""

import json
import os
import uuid

import pika

EVENTS, COMMANDS = "switchboard.events", "switchboard.commands"
QUEUE = "example.flow-engine"
SOURCE = "/example/flow-engine"

running: dict[str, str] = {}  # conversation -> execution
seen: dict[str, str] = {}  # partition key -> the highest sequence that was taken


def command(channel, kind: str, cause: dict, step: str, data: dict) -> None:
    """Publishes a command. Its id follows from what caused it, so that it is obeyed once although the cause comes twice."""
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{cause['source']}/{cause['id']}/{step}")),
        "source": SOURCE,
        "type": kind,
        "datacontenttype": "application/json",
        "data": data,
    }
    properties = pika.BasicProperties(content_type="application/cloudevents+json", delivery_mode=2)
    # With confirms on, this returns when the broker has it; only then is the cause acknowledged.
    channel.basic_publish(COMMANDS, kind, json.dumps(event), properties, mandatory=True)


def say(channel, cause: dict, conversation: str, text: str) -> None:
    command(channel, "flow-answer-generated", cause, "say", {"conversation": conversation, "text": text})


def began(channel, event: dict) -> None:
    data = event["data"]
    running[data["conversation"]] = data["execution"]
    say(channel, event, data["conversation"], "Hello! In which district are you? (Or write PERSON.)")


def answered(channel, event: dict) -> None:
    data = event["data"]
    execution = running.get(data["conversation"])
    if data["outbound"] or execution is None:
        return
    end = {"conversation": data["conversation"], "execution": execution, "outcome": "completed"}
    if data["text"].strip().upper() == "PERSON":
        end["open_ticket"] = {"queue": "helpdesk", "first_words": data["text"]}
        say(channel, event, data["conversation"], "A colleague will write to you.")
    else:
        say(channel, event, data["conversation"], f"Thank you. We have noted {data['text']}.")
    command(channel, "flow-execution-ended", event, "end", end)
    del running[data["conversation"]]


def take(channel, method, _properties, body: bytes) -> None:
    event = json.loads(body)
    # The message that ordered a flow is told before the order: what comes after it is an answer. Two events may share a number.
    place = event["sequence"] + event["type"]
    if place > seen.get(event["partitionkey"], ""):
        {"start-flow-execution": began, "message_added": answered}[event["type"]](channel, event)
        seen[event["partitionkey"]] = place
    channel.basic_ack(method.delivery_tag)


def main() -> None:
    connection = pika.BlockingConnection(pika.URLParameters(os.environ.get("AMQP_URL", "amqp://localhost/%2f")))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare(EVENTS, "topic", durable=True)
    channel.exchange_declare(COMMANDS, "topic", durable=True)
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    for key in ("start-flow-execution", "message_added"):
        channel.queue_bind(QUEUE, EVENTS, key)
    channel.basic_qos(prefetch_count=16)
    channel.basic_consume(QUEUE, take)
    print("waiting for start-flow-execution", flush=True)
    channel.start_consuming()


if __name__ == "__main__":
    main()
