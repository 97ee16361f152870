// A vendor built on node-smpp: takes the gateway's binds, accepts every message, and sends a receipt where one is
// asked for.
//
// Prints the port on which it listens, then a line with its counters when its standard input ends.

'use strict';

const smpp = require('smpp');

const counters = { binds: 0, submits: 0, octets: 0, receipts_taken: 0, enquiries: 0, unbinds: 0 };
let nextId = 0x1000;

function stamp() {
    return new Date().toISOString().replace(/[-:T]/g, '').slice(2, 12);
}

const server = smpp.createServer((session) => {
    session.on('error', () => session.close());
    session.on('bind_transceiver', (pdu) => {
        const known = pdu.system_id === 'gateway' && pdu.password === 'gateway1';
        counters.binds += known ? 1 : 0;
        const command_status = known ? smpp.ESME_ROK : smpp.ESME_RINVPASWD;
        session.send(pdu.response({ command_status, system_id: 'node-smpp' }));
    });
    session.on('enquire_link', (pdu) => {
        counters.enquiries += 1;
        session.send(pdu.response());
    });
    session.on('unbind', (pdu) => {
        counters.unbinds += 1;
        session.send(pdu.response());
        session.close();
    });
    session.on('submit_sm', (pdu) => {
        const message_id = (nextId++).toString(16);
        const payload = pdu.message_payload || pdu.short_message;
        counters.submits += 1;
        counters.octets += Buffer.byteLength(payload.message || '');
        session.send(pdu.response({ message_id }));
        if (pdu.registered_delivery & 1) {
            session.deliver_sm({
                source_addr_ton: pdu.dest_addr_ton,
                source_addr_npi: pdu.dest_addr_npi,
                source_addr: pdu.destination_addr,
                destination_addr: pdu.source_addr,
                esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
                short_message: `id:${message_id} sub:001 dlvrd:001 submit date:${stamp()} done date:${stamp()} `
                    + 'stat:DELIVRD err:000 text:',
            }, (answer) => {
                counters.receipts_taken += answer.command_status === 0 ? 1 : 0;
            });
        }
    });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => {
    console.log(JSON.stringify(counters));
    process.exit(0);
});
process.stdin.resume();
