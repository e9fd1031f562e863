"""A complete connector: it serves one channel of Switchboard over a toy medium.

    python connector.py --channel channels/toy --server 127.0.0.1:7440 --port 7777

What a connector for a real medium must do is all here: hello, deliveries and their ends, messages and their acks, receipts,
who left, reconnecting, and a journal that survives `kill -9`.
"""

import argparse
import asyncio
import logging
import socket

import grpc

import contract
from journal import Journal
from medium import Medium

SCHEME = "toy"  # the channel's own address is `toy:desk`, people are `toy:{name}`
log = logging.getLogger("connector")
pb, common, content = contract.connector, contract.common, contract.content


class Connector:
    """One instance of the connector."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.journal = Journal(options.journal)
        self.medium = Medium(self.said, self.left)
        self.out: asyncio.Queue | None = None  # what goes to the server; none while there is no connection
        self.to_be_read: dict[str, list[str]] = {}

    async def run(self) -> None:
        await asyncio.gather(self.medium.serve(self.options.port), self.stay_attached())

    async def stay_attached(self) -> None:
        """Attaches again and again, with growing pauses."""
        pause = 0.2
        while True:
            try:
                await self.attach()
                pause = 0.2
            except grpc.aio.AioRpcError as error:
                if error.code() == grpc.StatusCode.ABORTED:
                    raise SystemExit(f"another process uses the instance name: {error.details()}")
                log.warning("not attached: %s %s", error.code().name, error.details())
            self.out = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5)

    async def attach(self) -> None:
        async with grpc.aio.insecure_channel(self.options.server) as channel:
            out: asyncio.Queue = asyncio.Queue()
            hello = pb.ConnectorHello(
                channel=self.options.channel,
                instance=self.options.instance,
                software="python-toy/1.0",
                max_in_flight=self.options.in_flight,
            )
            await out.put(pb.AttachConnectorRequest(hello=hello))
            stub = contract.connector_grpc.ConnectorServiceStub(channel)
            async for response in stub.AttachConnector(drain(out)):
                match response.WhichOneof("item"):
                    case "welcome":
                        await self.welcomed(response.welcome, out)
                    case "delivery":
                        await self.deliver(response.delivery, out)
                    case "settled_ack":
                        if response.settled_ack.problem:
                            log.error("the server cannot read an end: %s", response.settled_ack.problem)
                    case "item_ack":
                        self.acked(response.item_ack)

    async def welcomed(self, welcome: pb.ConnectorWelcome, out: asyncio.Queue) -> None:
        """Answers for what an earlier connection was handed, and brings what the server has not got yet."""
        for one in welcome.unsettled:
            outcome = {
                "sent": common.OUTCOME_ACCEPTED,
                "unknown": common.OUTCOME_UNKNOWN,
                "nothing": common.OUTCOME_NOT_SENT,
            }[self.journal.knows(one.delivery)]
            log.info("%s of an earlier connection: %s", one.delivery, common.Outcome.Name(outcome))
            await out.put(settled(one.ack_id, outcome, provider_message_id=one.delivery))
        for message_id, person, words in self.journal.unacked():
            await out.put(inbound(message_id, person, words))
        self.out = out
        log.info("attached to %s as %s", self.options.channel, self.options.instance)

    async def deliver(self, delivery: pb.OutboundDelivery, out: asyncio.Queue) -> None:
        """Puts one message on the wire, and says how that ended."""
        scheme, _, name = delivery.to.value.partition(":")
        if scheme != SCHEME:
            reason = dict(failure_class=common.FAILURE_CLASS_FALL_OVER, code="other_medium")
            return await out.put(settled(delivery.ack_id, common.OUTCOME_REFUSED, **reason))
        if not self.journal.begin(delivery.delivery) and self.journal.knows(delivery.delivery) == "sent":
            # A second copy under the same key: this is what `after_unknown: key` promises.
            return await out.put(settled(delivery.ack_id, common.OUTCOME_ACCEPTED, provider_message_id=delivery.delivery))
        try:
            is_there = await self.medium.send(name, delivery.plain_text)
        except ConnectionError as error:
            log.warning("the wire broke: %s", error)
            return await out.put(settled(delivery.ack_id, common.OUTCOME_UNKNOWN, detail="the wire broke"))
        if not is_there:
            self.journal.forget(delivery.delivery)
            reason = dict(failure_class=common.FAILURE_CLASS_FALL_OVER, code="not_there", detail="nobody of this name is there")
            return await out.put(settled(delivery.ack_id, common.OUTCOME_REFUSED, **reason))
        self.journal.done(delivery.delivery)
        await out.put(settled(delivery.ack_id, common.OUTCOME_ACCEPTED, provider_message_id=delivery.delivery))
        await out.put(receipt(delivery.delivery, common.EVIDENCE_DELIVERED))
        self.to_be_read.setdefault(name, []).append(delivery.delivery)

    async def said(self, message_id: str, name: str, words: str) -> None:
        """Somebody said something: kept first, then brought. Whoever answers has read what was said before."""
        self.journal.heard(message_id, name, words)
        if self.out is None:
            return
        for delivery in self.to_be_read.pop(name, []):
            await self.out.put(receipt(delivery, common.EVIDENCE_READ))
        await self.out.put(inbound(message_id, name, words))

    async def left(self, name: str) -> None:
        if self.out is not None:
            item = pb.SessionEndedItem(item_id=f"left:{name}", reason="hung_up")
            getattr(item, "from").CopyFrom(address(name))  # `from` is a word of Python
            await self.out.put(pb.AttachConnectorRequest(session_ended=item))

    def acked(self, ack: pb.ItemAck) -> None:
        if ack.problem:
            log.error("the server cannot take %s: %s", ack.item_id, ack.problem)
        # Taken, or wrong for good: either way it is not brought again.
        self.journal.acked(ack.item_id)


async def drain(queue: asyncio.Queue):
    """What is said to the server, as it comes."""
    while True:
        yield await queue.get()


def address(name: str) -> common.Address:
    return common.Address(kind=common.ADDRESS_KIND_EXTERNAL, value=f"{SCHEME}:{name}")


def settled(ack_id: str, outcome: int, **more) -> pb.AttachConnectorRequest:
    return pb.AttachConnectorRequest(settled=pb.DeliverySettled(ack_id=ack_id, outcome=outcome, **more))


def receipt(delivery: str, evidence: int) -> pb.AttachConnectorRequest:
    fact = pb.DeliveryReceipt(provider_message_id=delivery, evidence=evidence)
    return pb.AttachConnectorRequest(receipt=pb.ReceiptItem(item_id=f"{delivery}:{evidence}", receipt=fact))


def inbound(message_id: str, name: str, words: str) -> pb.AttachConnectorRequest:
    said = content.Content(text=content.Content.Text(text=words))
    message = pb.InboundMessage(message_id=message_id, display_name=name, content=said, channel_data={"medium": "tcp"})
    getattr(message, "from").append(address(name))
    return pb.AttachConnectorRequest(inbound=pb.InboundItem(item_id=message_id, message=message))


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves a channel of Switchboard over a chat of lines on this machine.")
    parser.add_argument("--server", default="127.0.0.1:7440", help="where the API of Switchboard is")
    parser.add_argument("--channel", default="channels/toy", help="the channel, whose provider is of the kind external")
    parser.add_argument("--instance", default=socket.gethostname(), help="the name of this process, kept over restarts")
    parser.add_argument("--port", type=int, default=7777, help="where people connect")
    parser.add_argument("--journal", default="journal.sqlite", help="the file that survives a kill")
    parser.add_argument("--in-flight", type=int, default=10, help="deliveries at once that are not settled")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(Connector(options).run())
    except KeyboardInterrupt:
        log.info("ended")


if __name__ == "__main__":
    main()
