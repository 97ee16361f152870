//! What waits for one system_id, and the connections that may take it.
//!
//! Owned by the event loop.

use std::collections::VecDeque;

use super::connection::Connection;
use super::delivery::Delivery;
use super::options::SmscOptions;

/// One system_id that has bound at least once.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Receipts and messages in the order in which they go out.
    pub(super) queue: VecDeque<Delivery>,
    /// Connections bound for receiving, by index.
    pub(super) receivers: Vec<usize>,
    /// Whether something has changed that may let the queue move.
    pub(super) wants_pump: bool,
    cursor: usize,
}

impl Account {
    /// The next connection in turn that has room for a deliver_sm.
    pub(super) fn next_receiver(
        &mut self,
        connections: &[Option<Box<Connection>>],
        options: &SmscOptions,
    ) -> Option<usize> {
        for _ in 0..self.receivers.len() {
            self.cursor = (self.cursor + 1) % self.receivers.len();
            let receiver = self.receivers[self.cursor];
            if connections[receiver].as_ref().is_some_and(|connection| connection.has_room(options)) {
                return Some(receiver);
            }
        }
        None
    }
}
