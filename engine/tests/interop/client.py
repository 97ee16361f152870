"""A customer built on python-smpplib: short and long messages, their receipts, a message from the street.

Called with host, port, system_id and password. Prints one JSON object that says what came of it; exits with an
error when something did not come about within its time.
"""

import json
import sys
import time
import warnings

from smpplib import client, consts, exceptions, gsm, smpp

warnings.simplefilter("ignore")

PATIENCE = 30
# esm_class: the bits that tell the message type, and what they are for a delivery receipt.
TYPE_MASK, DELIVERY_RECEIPT = 0x3C, 0x04
LONG_TEXT = "A long message in parts: " + "0123456789" * 40
UNICODE_TEXT = "Привет, мир! " * 12


# Where the reference is in a part: behind its header's length, the element's name and the element's length.
REFERENCE_AT = 3


def parts_of(text, taken):
    """The text's parts under a reference that is not taken yet: the library draws one of 256 by lot."""
    while True:
        parts, coding, esm_class = gsm.make_parts(text)
        reference = parts[0][REFERENCE_AT]
        if reference not in taken:
            taken.add(reference)
            return parts, coding, esm_class


def main():
    host, port, system_id, password = sys.argv[1:]
    peer = client.Client(host, int(port), timeout=PATIENCE)
    accepted, refused, receipts, from_street = {}, [], [], []

    def on_sent(pdu):
        # Also called for a refusal, which has no message_id.
        if not pdu.is_error():
            accepted[pdu.sequence] = pdu.message_id.decode()

    def on_error(pdu):
        refused.append(pdu.status)

    def on_message(pdu):
        text = pdu.short_message or b""
        if pdu.esm_class & TYPE_MASK == DELIVERY_RECEIPT:
            receipts.append({"id": pdu.receipted_message_id.decode(), "text": text.decode("latin-1")})
        else:
            from_street.append(text.decode("latin-1"))

    peer.set_message_sent_handler(on_sent)
    peer.set_error_pdu_handler(on_error)
    peer.set_message_received_handler(on_message)
    peer.connect()
    bound = peer.bind_transceiver(system_id=system_id, password=password)

    def send(**fields):
        return peer.send_message(
            source_addr_ton=consts.SMPP_TON_INTL,
            source_addr_npi=consts.SMPP_NPI_ISDN,
            source_addr="12025550100",
            dest_addr_ton=consts.SMPP_TON_INTL,
            dest_addr_npi=consts.SMPP_NPI_ISDN,
            destination_addr="15551234567",
            registered_delivery=1,
            **fields,
        ).sequence

    sent = {"short": [send(short_message=b"a short one")]}
    references = set()
    for name, text in (("long", LONG_TEXT), ("unicode", UNICODE_TEXT)):
        parts, coding, esm_class = parts_of(text, references)
        sent[name] = [send(short_message=part, data_coding=coding, esm_class=esm_class) for part in parts]
    sent["payload"] = [send(short_message=b"", message_payload=LONG_TEXT.encode())]
    expected = sum(len(sequences) for sequences in sent.values())

    # An invalid source address: the refusal has no body.
    peer.send_message(source_addr_ton=5, source_addr="NOT OURS", destination_addr="15551234567", short_message=b"x")

    enquiry = smpp.make_pdu("enquire_link", client=peer)
    peer.send_pdu(enquiry)

    until = time.monotonic() + PATIENCE
    while len(accepted) < expected or len(receipts) < expected or not from_street or not refused:
        if time.monotonic() > until:
            sys.exit("in time came only %r %r %r %r" % (accepted, refused, receipts, from_street))
        peer.read_once()

    peer.send_pdu(smpp.make_pdu("unbind", client=peer))
    while peer.read_pdu().command != "unbind_resp":
        pass
    try:
        peer.read_pdu()
        sys.exit("the gateway did not close behind unbind_resp")
    except exceptions.ConnectionError:
        pass
    peer.disconnect()
    print(json.dumps({
        "smsc": bound.system_id.decode() if bound.system_id else "",
        "sent": {name: [accepted[sequence] for sequence in sequences] for name, sequences in sent.items()},
        "refused": refused,
        "receipts": receipts,
        "from_street": from_street,
    }))


main()
