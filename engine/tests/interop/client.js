// A customer built on node-smpp: short and long messages, their receipts, a message from the street.
//
// Called with host, port, system_id and password. Prints one JSON object that says what came of it; exits with an
// error when something did not come about within its time.

'use strict';

const smpp = require('smpp');

const [host, port, systemId, password] = process.argv.slice(2);
const PATIENCE_MS = 30000;
const LONG_TEXT = 'A long message in parts: ' + '0123456789'.repeat(40);

const outcome = { sent: {}, refused: [], receipts: [], from_street: [], enquired: 0 };
let open = 0;

const timer = setTimeout(() => fail('in time came only ' + JSON.stringify(outcome)), PATIENCE_MS);

function fail(reason) {
    console.error(reason);
    process.exit(1);
}

const session = smpp.connect({ url: `smpp://${host}:${port}` }, () => {
    session.bind_transceiver({ system_id: systemId, password, interface_version: 0x50 }, (pdu) => {
        if (pdu.command_status !== 0) {
            fail(`the bind was refused with ${pdu.command_status}`);
        }
        outcome.smsc = pdu.system_id;
        sendAll();
    });
});

session.on('error', (error) => fail(error.stack));

session.on('deliver_sm', (pdu) => {
    const text = typeof pdu.short_message === 'object' ? pdu.short_message.message : pdu.short_message;
    if ((pdu.esm_class & 0x3c) === smpp.ESM_CLASS.MC_DELIVERY_RECEIPT) {
        outcome.receipts.push({ id: pdu.receipted_message_id, state: pdu.message_state, text: text.toString() });
    } else {
        outcome.from_street.push(text.toString());
    }
    session.send(pdu.response());
    leaveWhenDone();
});

function submit(name, fields) {
    open += 1;
    const message = {
        source_addr_ton: 1,
        source_addr_npi: 1,
        source_addr: '12025550100',
        dest_addr_ton: 1,
        dest_addr_npi: 1,
        destination_addr: '15551234567',
        registered_delivery: 1,
        ...fields,
    };
    session.submit_sm(message, (pdu) => {
        open -= 1;
        if (pdu.command_status === 0) {
            (outcome.sent[name] = outcome.sent[name] || []).push(pdu.message_id);
        } else {
            outcome.refused.push(pdu.command_status);
        }
        leaveWhenDone();
    });
}

function sendAll() {
    submit('short', { short_message: 'a short one' });
    submit('unicode', { short_message: 'Привет, мир!' });
    const parts = LONG_TEXT.match(/.{1,153}/g);
    parts.forEach((part, index) => {
        const udh = Buffer.from([5, 0, 3, 0x2a, parts.length, index + 1]);
        submit('long', { short_message: { udh, message: part } });
    });
    submit('payload', { short_message: '', message_payload: LONG_TEXT });
    submit('refused', { source_addr_ton: 5, source_addr_npi: 0, source_addr: 'NOT OURS', short_message: 'x' });
    session.enquire_link({}, (pdu) => {
        outcome.enquired += pdu.command_status === 0 ? 1 : 0;
        leaveWhenDone();
    });
}

let leaving = false;

function leaveWhenDone() {
    const accepted = Object.values(outcome.sent).flat().length;
    const done = open === 0 && accepted > 0 && outcome.receipts.length >= accepted && outcome.from_street.length > 0;
    if (!done || outcome.enquired === 0 || leaving) {
        return;
    }
    leaving = true;
    session.on('close', () => {
        clearTimeout(timer);
        console.log(JSON.stringify(outcome));
    });
    // The gateway closes behind unbind_resp.
    session.unbind();
}
