//! Receiving and sending: the two operations that every message takes.
//!
//! Lives on the shard's thread, as part of [`Net`].

use std::io;
use std::os::fd::AsRawFd;

use io_uring::{cqueue, opcode, squeue, types};

use super::buffers::GROUP;
use super::slots::{Armed, Reading, Slot};
use super::sockets::{Completion, Kind, Net, user_data};

impl Net {
    /// Changes how a slot is read. After [`Reading::Stopped`] what is on its way may still come in.
    #[inline]
    pub fn read(&mut self, slot: Slot, reading: Reading) {
        let entry = self.slots.get(slot);
        if entry.winding_down {
            return;
        }
        entry.wanted = reading;
        match (reading, entry.armed) {
            (Reading::Once | Reading::Stream, Armed::Nothing) => self.arm(slot),
            (Reading::Stopped, Armed::Single | Armed::Multishot) | (Reading::Once, Armed::Multishot)
                if !entry.cancelling =>
            {
                entry.cancelling = true;
                let target = user_data(Kind::Receive, entry.generation, slot.0);
                self.cancel(target);
            }
            _ => {}
        }
    }

    /// The empty buffer to fill before [`Net::send`]; `None` while an earlier one is being sent.
    #[inline]
    pub fn send_buffer(&mut self, slot: Slot) -> Option<&mut Vec<u8>> {
        let entry = self.slots.get(slot);
        (!entry.send_under_way && !entry.winding_down).then_some(&mut entry.sending)
    }

    /// Whether [`Net::send_buffer`] would give one.
    #[inline]
    pub fn can_send(&mut self, slot: Slot) -> bool {
        let entry = self.slots.get(slot);
        !entry.send_under_way && !entry.winding_down
    }

    /// Sends what [`Net::send_buffer`] was filled with: [`Completion::Sent`] follows, several times if need be.
    #[inline]
    pub fn send(&mut self, slot: Slot) {
        let entry = self.slots.get(slot);
        if entry.send_under_way || entry.winding_down || entry.sending.is_empty() {
            return;
        }
        entry.sent = 0;
        self.push_send(slot);
    }

    #[inline]
    pub(super) fn receive_completed(
        &mut self,
        slot: Slot,
        generation: u32,
        result: i32,
        flags: u32,
    ) -> Option<Completion> {
        let buffers = self.buffers.as_mut()?;
        let chunk = cqueue::buffer_select(flags).map(|buffer| buffers.chunk(buffer, result.max(0) as u32));
        let Some(entry) = self.slots.current(slot, generation) else {
            if let Some(chunk) = chunk {
                buffers.give_back(chunk);
            }
            return None;
        };
        if !cqueue::more(flags) {
            entry.armed = Armed::Nothing;
            entry.cancelling = false;
            entry.under_way -= 1;
        }
        if result > 0 {
            if entry.wanted == Reading::Once {
                entry.wanted = Reading::Stopped;
            }
            self.after_receive(slot);
            return chunk.map(|chunk| Completion::Received(slot, chunk));
        }
        if let Some(chunk) = chunk {
            buffers.give_back(chunk);
        }
        match -result {
            libc::ENOBUFS => buffers.grow(),
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            code => {
                entry.wanted = Reading::Stopped;
                self.after_receive(slot);
                return Some(match code {
                    0 => Completion::EndOfStream(slot),
                    code => Completion::ReceiveFailed(slot, io::Error::from_raw_os_error(code)),
                });
            }
        }
        self.after_receive(slot);
        None
    }

    /// Arms the receive again where one is wanted; notes the slot's end where it winds down.
    #[inline]
    fn after_receive(&mut self, slot: Slot) {
        let entry = self.slots.get(slot);
        if entry.armed == Armed::Nothing && entry.wanted != Reading::Stopped && !entry.winding_down {
            self.arm(slot);
        } else if entry.winding_down {
            self.note_idle(slot);
        }
    }

    fn arm(&mut self, slot: Slot) {
        let entry = self.slots.get(slot);
        let Some(socket) = &entry.socket else { return };
        let descriptor = types::Fd(socket.as_raw_fd());
        let operation = if entry.wanted == Reading::Stream {
            entry.armed = Armed::Multishot;
            opcode::RecvMulti::new(descriptor, GROUP).build()
        } else {
            entry.armed = Armed::Single;
            opcode::Recv::new(descriptor, core::ptr::null_mut(), 0)
                .buf_group(GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        entry.under_way += 1;
        let operation = operation.user_data(user_data(Kind::Receive, entry.generation, slot.0));
        // SAFETY: the kernel writes to provided buffers only, which live until nothing is under way.
        unsafe { self.ring.push(&operation) };
    }

    #[inline]
    pub(super) fn send_completed(&mut self, slot: Slot, generation: u32, result: i32) -> Option<Completion> {
        let entry = self.slots.current(slot, generation)?;
        entry.send_under_way = false;
        entry.under_way -= 1;
        match result {
            count if count >= 0 => {
                entry.sent += count as usize;
                if entry.sent < entry.sending.len() {
                    self.send_on(slot);
                } else {
                    entry.sending.clear();
                    entry.sent = 0;
                    self.note_idle(slot);
                }
                Some(Completion::Sent(slot, result as usize))
            }
            code if code == -libc::EINTR || code == -libc::EAGAIN || code == -libc::ECANCELED => {
                self.send_on(slot);
                None
            }
            code => {
                entry.sending.clear();
                entry.sent = 0;
                self.note_idle(slot);
                Some(Completion::SendFailed(slot, io::Error::from_raw_os_error(-code)))
            }
        }
    }

    fn send_on(&mut self, slot: Slot) {
        if self.slots.get(slot).winding_down {
            self.note_idle(slot);
        } else {
            self.push_send(slot);
        }
    }

    #[inline]
    fn push_send(&mut self, slot: Slot) {
        let entry = self.slots.get(slot);
        let Some(socket) = &entry.socket else { return };
        let rest = &entry.sending[entry.sent..];
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        // Without MSG_WAITALL a peer that takes little at a time is told from one that takes nothing.
        let operation = opcode::Send::new(types::Fd(socket.as_raw_fd()), rest.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(user_data(Kind::Send, entry.generation, slot.0));
        entry.send_under_way = true;
        entry.under_way += 1;
        // SAFETY: `sending` is neither touched nor freed while `send_under_way`, wherever the entry itself goes.
        unsafe { self.ring.push(&operation) };
    }
}
