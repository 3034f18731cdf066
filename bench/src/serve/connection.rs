//! One connection of the kernel's server.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::Service;
use super::http;

/// A connection and what is still to be sent on it.
pub(super) struct Connection {
    socket: OwnedFd,
    service: Service,
    /// What the send buffer did not take.
    unsent: Vec<u8>,
    /// The part of a request whose end has not come.
    head: Vec<u8>,
    /// Whether the connection ends once everything is sent.
    ends: bool,
}

/// What becomes of a connection after an event.
pub(super) enum Next {
    Waits,
    Closes,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, service: Service) -> Self {
        Self { socket, service, unsent: Vec::new(), head: Vec::new(), ends: false }
    }

    /// Does all that can be done; events are edges.
    pub(super) fn turn(&mut self, buffer: &mut [u8]) -> nix::Result<Next> {
        if self.service == Service::Chargen {
            return self.generate(buffer);
        }
        loop {
            if !self.flush()? {
                return Ok(Next::Waits);
            }
            if self.ends {
                return Ok(Next::Closes);
            }
            let got = match recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(0) => return Ok(Next::Closes),
                Ok(got) => got,
                Err(Errno::EAGAIN) => return Ok(Next::Waits),
                Err(error) => return Err(error),
            };
            match self.service {
                Service::Echo => self.send(&buffer[..got])?,
                Service::Http => self.answer(&buffer[..got])?,
                Service::Discard | Service::Chargen => {}
            }
        }
    }

    /// Sends without end.
    fn generate(&mut self, buffer: &[u8]) -> nix::Result<Next> {
        loop {
            match send(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => {}
                Err(Errno::EAGAIN) => return Ok(Next::Waits),
                Err(error) => return Err(error),
            }
        }
    }

    /// Answers all requests that are complete.
    fn answer(&mut self, data: &[u8]) -> nix::Result<()> {
        self.head.extend_from_slice(data);
        let mut replies = Vec::new();
        let answered = http::answer(&self.head, &mut replies);
        self.head.drain(..answered.consumed);
        self.ends = answered.ends;
        self.send(&replies)
    }

    /// Sends what goes, keeps the rest.
    fn send(&mut self, data: &[u8]) -> nix::Result<()> {
        let sent = match send(self.socket.as_raw_fd(), data, MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::EAGAIN) => 0,
            Err(error) => return Err(error),
        };
        self.unsent.extend_from_slice(&data[sent..]);
        Ok(())
    }

    /// Whether nothing is left to send.
    fn flush(&mut self) -> nix::Result<bool> {
        while !self.unsent.is_empty() {
            match send(self.socket.as_raw_fd(), &self.unsent, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::EAGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
