//! Connections to vendors: name, TCP, TLS, each with the vendor's time limit and a reason when it fails.

use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use smpp_shards::settings::VendorSettings;
use smpp_shards::{Conn, ConnectFailure, ConnectStep, LinkId, ReadMode, Snapshot, Time, VendorId};

use crate::connections::{Attempt, Phase};
use crate::listen;
use crate::mail::Resolved;
use crate::net::{Reading, Slot};
use crate::resolve::Request;
use crate::tls::TlsSession;

use super::{Pump, Timer};

/// What a link's connecting waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum LinkState {
    #[default]
    Idle,
    Resolving {
        ticket: u32,
        vendor: VendorId,
        give_up: Time,
    },
    Connecting(Slot),
}

/// The links of this shard that are being connected, by [`LinkId`].
#[derive(Debug, Default)]
pub(super) struct Links {
    states: Vec<LinkState>,
    next_ticket: u32,
}

impl Links {
    fn get(&mut self, link: LinkId) -> &mut LinkState {
        if link.index() >= self.states.len() {
            self.states.resize(link.index() + 1, LinkState::Idle);
        }
        &mut self.states[link.index()]
    }

    fn ticket(&mut self) -> u32 {
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.next_ticket
    }
}

impl Pump {
    /// Begins to connect a link.
    pub(super) fn connect(&mut self, link: LinkId, vendor: VendorId) {
        let snapshot = self.shard.snapshot().clone();
        let Some(settings) = vendor_settings(&snapshot, vendor) else {
            self.fail(link, ConnectStep::Name, None, "the vendor is not in the configuration".into());
            return;
        };
        let give_up = self.now.mono.after_ms(settings.bind_timeout_ms);
        if let Some(address) = literal(&settings.host, settings.port) {
            self.try_addresses(link, vendor, vec![address], give_up, None);
            return;
        }
        let ticket = self.links.ticket();
        let (host, port) = (settings.host.clone(), settings.port);
        if self.resolver.ask(Request { shard: self.id, link, ticket, host, port }) {
            *self.links.get(link) = LinkState::Resolving { ticket, vendor, give_up };
            self.timers.push(Reverse((give_up, Timer::Name { link: link.0, ticket })));
        } else {
            self.fail(link, ConnectStep::Name, None, "too many names are being looked up".into());
        }
    }

    /// Gives a link's connecting up, silently.
    pub(super) fn abandon_connect(&mut self, link: LinkId) {
        if let LinkState::Connecting(slot) = core::mem::take(self.links.get(link)) {
            self.abort(slot);
        }
    }

    /// The resolver has answered.
    pub(super) fn resolved(&mut self, resolved: Resolved) {
        let LinkState::Resolving { ticket, vendor, give_up } = *self.links.get(resolved.link) else { return };
        if ticket != resolved.ticket {
            return;
        }
        match resolved.result {
            Ok(mut addresses) => {
                addresses.reverse();
                self.try_addresses(resolved.link, vendor, addresses, give_up, None);
            }
            Err(reason) => self.fail(resolved.link, ConnectStep::Name, None, reason),
        }
    }

    /// The resolver has not answered in time.
    pub(super) fn name_took_too_long(&mut self, link: u32, waited_for: u32) {
        let link = LinkId(link);
        if let LinkState::Resolving { ticket, .. } = *self.links.get(link)
            && ticket == waited_for
        {
            self.fail(link, ConnectStep::Name, None, "the name was not resolved in time".into());
        }
    }

    /// The kernel has connected, or not.
    pub(super) fn tcp_connected(&mut self, slot: Slot, outcome: io::Result<()>) {
        let Phase::Connecting(attempt) = &mut self.connections.get(slot).phase else { return };
        match outcome {
            Ok(()) => {
                attempt.is_connected = true;
                let vendor = attempt.vendor;
                self.begin_tls(slot, vendor);
            }
            Err(error) => self.connect_broke(slot, &error.to_string()),
        }
    }

    /// What was being connected came to its end before it was a connection.
    pub(super) fn connect_broke(&mut self, slot: Slot, reason: &str) {
        let local = self.local_address(slot);
        let phase = core::mem::replace(&mut self.connections.get(slot).phase, Phase::Closing);
        self.abort(slot);
        let Phase::Connecting(attempt) = phase else { return };
        let Attempt { link, vendor, address, others, give_up, is_connected } = *attempt;
        let step = if is_connected { ConnectStep::Tls } else { ConnectStep::Tcp };
        let failure = ConnectFailure { step, local, reason: format!("{address}: {reason}") };
        self.try_addresses(link, vendor, others, give_up, Some(failure));
    }

    /// The time of an attempt has passed.
    pub(super) fn connect_took_too_long(&mut self, slot: Slot) {
        self.connect_broke(slot, "no answer in time");
    }

    /// Hands a connection over to the shard.
    pub(super) fn finish_connect(&mut self, slot: Slot) {
        let local = self.local_address(slot);
        let connection = self.connections.get(slot);
        let Phase::Connecting(attempt) = core::mem::replace(&mut connection.phase, Phase::Open) else { return };
        connection.deadline = Time::NEVER;
        connection.reading = ReadMode::Stream;
        *self.links.get(attempt.link) = LinkState::Idle;
        self.net.read(slot, Reading::Stream);
        self.shard.connected(Conn(slot.0), attempt.link, local, self.now, &mut self.output);
    }

    /// Tries the last of the addresses; with none left (or no time) the link has failed.
    fn try_addresses(
        &mut self,
        link: LinkId,
        vendor: VendorId,
        mut addresses: Vec<SocketAddr>,
        give_up: Time,
        mut failure: Option<ConnectFailure>,
    ) {
        let left = give_up.nanos_since(self.now.mono);
        while left > 0
            && let Some(address) = addresses.pop()
        {
            match listen::outgoing(address) {
                Ok(socket) => {
                    let share = left / (addresses.len() as u64 + 1);
                    let others = addresses;
                    let attempt = Attempt { link, vendor, address, others, give_up, is_connected: false };
                    self.begin_tcp(socket, attempt, Time(self.now.mono.0.saturating_add(share)));
                    return;
                }
                Err(error) => {
                    let reason = format!("{address}: {error}");
                    failure = Some(ConnectFailure { step: ConnectStep::Tcp, local: None, reason });
                }
            }
        }
        let failure = failure.unwrap_or_else(|| ConnectFailure {
            step: ConnectStep::Name,
            local: None,
            reason: "no address could be tried in time".into(),
        });
        self.fail(link, failure.step, failure.local, failure.reason);
    }

    fn begin_tcp(&mut self, socket: OwnedFd, attempt: Attempt, deadline: Time) {
        let (link, address) = (attempt.link, attempt.address);
        let slot = self.net.insert(socket);
        self.connections.open(slot, Phase::Connecting(Box::new(attempt)), None);
        *self.links.get(link) = LinkState::Connecting(slot);
        self.set_deadline(slot, deadline);
        self.net.connect(slot, address.into());
    }

    /// TCP stands: shakes hands where the vendor wants TLS, else hands over.
    fn begin_tls(&mut self, slot: Slot, vendor: VendorId) {
        let snapshot = self.shard.snapshot().clone();
        let uses_tls = vendor_settings(&snapshot, vendor).filter(|settings| settings.use_tls);
        let Some(settings) = uses_tls else {
            self.finish_connect(slot);
            return;
        };
        let config = self.tls.vendors.get(vendor.index()).cloned().flatten();
        let session = match (config, ServerName::try_from(settings.host.clone())) {
            (Some(config), Ok(name)) => TlsSession::client(config, name).map_err(|error| error.to_string()),
            (None, _) => Err("no TLS settings were read for this vendor".into()),
            (_, Err(error)) => Err(error.to_string()),
        };
        match session {
            Ok(tls) => {
                let connection = self.connections.get(slot);
                connection.tls = Some(Box::new(tls));
                if let Phase::Connecting(attempt) = &connection.phase {
                    let give_up = attempt.give_up;
                    self.set_deadline(slot, give_up);
                }
                self.ready.push(slot);
                self.net.read(slot, Reading::Once);
            }
            Err(reason) => self.connect_broke(slot, &reason),
        }
    }

    fn local_address(&mut self, slot: Slot) -> Option<SocketAddr> {
        let socket = self.net.socket(slot)?;
        let address = socket2::SockRef::from(&socket).local_addr().ok()?.as_socket()?;
        (!address.ip().is_unspecified()).then_some(address)
    }

    fn fail(&mut self, link: LinkId, step: ConnectStep, local: Option<SocketAddr>, reason: String) {
        *self.links.get(link) = LinkState::Idle;
        self.shard.connect_failed(link, ConnectFailure { step, local, reason }, self.now, &mut self.output);
    }
}

fn vendor_settings(snapshot: &Arc<Snapshot>, vendor: VendorId) -> Option<&VendorSettings> {
    snapshot.vendor(vendor).map(|vendor| &vendor.settings)
}

/// The address that a host is when it is no name.
pub(crate) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_addresses_need_no_look_up() {
        assert_eq!(literal("127.0.0.1", 7), Some(([127, 0, 0, 1], 7).into()));
        assert_eq!(literal("[::1]", 7), literal("::1", 7));
        assert_eq!(literal("localhost", 7), None);
    }
}
