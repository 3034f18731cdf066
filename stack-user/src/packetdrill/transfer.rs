//! `read` and `write`, and their relatives.

use super::clock::Library;
use super::socket::{Phase, Role, Socket, Urgent};
use super::world::World;
use super::{Answer, Errno};
use crate::time::Duration;

/// What a `recv` gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Octets of data.
    pub len: usize,
    /// Octets that are left for the next call (TCP_INQ).
    pub left: usize,
    /// The socket wants to be told of `left`.
    pub tells_left: bool,
}

/// Where a `recv` puts data.
pub(super) enum Into<'a> {
    /// Into this.
    Buffer(&'a mut [u8]),
    /// Nowhere: the data is thrown away (MSG_TRUNC, or a count of nothing).
    Nowhere(usize),
    /// To an address that is none.
    Fault(usize),
}

impl Into<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Buffer(buffer) => buffer.len(),
            Self::Nowhere(len) | Self::Fault(len) => *len,
        }
    }
}

impl Library {
    /// `recv` with `flags`.
    pub(super) fn receive(&self, fd: i32, mut into: Into<'_>, flags: i32) -> Answer<Received> {
        let known = libc::MSG_PEEK
            | libc::MSG_DONTWAIT
            | libc::MSG_TRUNC
            | libc::MSG_WAITALL
            | libc::MSG_NOSIGNAL
            | libc::MSG_OOB
            | libc::MSG_CMSG_CLOEXEC;
        if flags & !known != 0 {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let dont_wait = flags & libc::MSG_DONTWAIT != 0;
        let wait = self.call(|world| {
            let socket = world.socket(fd)?;
            Ok(socket.patience(dont_wait, socket.set.receive_timeout))
        })?;
        let mut got = 0;
        let wait = wait.or(Some(Duration::ZERO));
        let outcome = self.wait(wait, |world| world.receive(fd, &mut into, flags, &mut got));
        match outcome {
            Some(answer) => answer,
            None if got > 0 => Ok(Received { len: got, ..Received::default() }),
            None => Err(Errno(libc::EAGAIN)),
        }
    }

    /// `send` with `flags`.
    pub(super) fn send(&self, fd: i32, data: &[u8], flags: i32) -> Answer<usize> {
        let known = libc::MSG_DONTWAIT
            | libc::MSG_MORE
            | libc::MSG_NOSIGNAL
            | libc::MSG_OOB
            | libc::MSG_CONFIRM;
        if flags & !known != 0 {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let dont_wait = flags & libc::MSG_DONTWAIT != 0;
        let wait = self.call(|world| {
            let socket = world.socket(fd)?;
            Ok(socket.patience(dont_wait, socket.set.send_timeout))
        })?;
        let mut sent = 0;
        let wait = wait.or(Some(Duration::ZERO));
        let outcome = self.wait(wait, |world| world.send(fd, data, flags, &mut sent));
        match outcome {
            Some(answer) => answer,
            None if sent > 0 => Ok(sent),
            None => Err(Errno(libc::EAGAIN)),
        }
    }
}

impl World {
    fn receive(
        &mut self,
        fd: i32,
        into: &mut Into<'_>,
        flags: i32,
        got: &mut usize,
    ) -> Option<Answer<Received>> {
        let socket = match self.socket(fd) {
            Ok(socket) => socket,
            Err(error) => return Some(Err(error)),
        };
        let is_peek = flags & libc::MSG_PEEK != 0;
        let Some(id) = socket.conn() else { return Some(Err(Errno(libc::ENOTCONN))) };
        if flags & libc::MSG_OOB != 0 {
            return Some(self.receive_urgent(fd, into, is_peek));
        }
        let (tells_left, wanted) = (socket.set.inq, into.len());
        if matches!(into, Into::Fault(_)) && socket.view.unread > 0 && wanted > 0 {
            return Some(Err(Errno(libc::EFAULT)));
        }
        let most = if socket.set.oob_inline { None } else { socket.urgent_distance() };
        if most == Some(0) && (*got == 0 || is_peek) {
            self.pass_urgent(fd, id);
        } else if most == Some(0) {
            return Some(Ok(Received { len: *got, left: 0, tells_left }));
        }
        let most = most.filter(|most| *most > 0).unwrap_or(usize::MAX);
        let (len, left) = self.take(id, into, (*got, most), is_peek);
        // As on Linux, 1 tells that the peer's FIN is still to be read.
        let left = if left == 0 { usize::from(self.has_ended(fd)) } else { left };
        *got = if is_peek { len } else { *got + len };
        let done = Received { len: *got, left, tells_left };
        let wants_all = flags & libc::MSG_WAITALL != 0;
        if wanted == 0 || *got == wanted || (*got > 0 && !wants_all) {
            return Some(Ok(done));
        }
        let socket = match self.socket_mut(fd) {
            Ok(socket) => socket,
            Err(error) => return Some(Err(error)),
        };
        if *got > 0 {
            let is_end = socket.is_read_shut || socket.error.is_some();
            return is_end.then_some(Ok(done));
        }
        socket.end_of_reading().map(|end| end.map(|()| done))
    }

    fn has_ended(&self, fd: i32) -> bool {
        self.sockets.get(&fd).is_some_and(|socket| socket.is_done)
    }

    /// A read that begins at the urgent byte passes over it.
    fn pass_urgent(&mut self, fd: i32, id: crate::shard::ConnId) {
        let mut byte = [0];
        let read = self.with(id, |conn| conn.read(&mut byte));
        if let (Some(1), Ok(socket)) = (read, self.socket_mut(fd))
            && socket.urgent == Urgent::Ahead
        {
            socket.urgent = Urgent::Passed(byte[0]);
        }
    }

    /// `recv` with MSG_OOB: the urgent byte, wherever it stands.
    fn receive_urgent(&mut self, fd: i32, into: &mut Into<'_>, is_peek: bool) -> Answer<Received> {
        let socket = self.socket(fd)?;
        let id = socket.conn().ok_or(Errno(libc::ENOTCONN))?;
        if socket.set.oob_inline {
            return Err(Errno(libc::EINVAL));
        }
        let byte = match socket.urgent {
            Urgent::None => return Err(Errno(libc::EINVAL)),
            Urgent::Passed(byte) => byte,
            Urgent::Ahead => {
                let distance = socket.urgent_distance().ok_or(Errno(libc::EINVAL))?;
                let mut text = vec![0; distance + 1];
                let seen = self.with(id, |conn| conn.peek(&mut text)).unwrap_or(0);
                if seen <= distance {
                    return Err(Errno(libc::EAGAIN));
                }
                text[distance]
            }
        };
        if !is_peek {
            self.socket_mut(fd)?.urgent = Urgent::None;
        }
        let len = match into {
            Into::Buffer(buffer) if !buffer.is_empty() => {
                buffer[0] = byte;
                1
            }
            Into::Fault(_) => return Err(Errno(libc::EFAULT)),
            Into::Buffer(_) | Into::Nowhere(_) => into.len().min(1),
        };
        Ok(Received { len, ..Received::default() })
    }

    /// Takes or looks at text behind the `got` octets that the call has already; how much, and how
    /// much is left.
    fn take(
        &mut self,
        id: crate::shard::ConnId,
        into: &mut Into<'_>,
        (got, most): (usize, usize),
        is_peek: bool,
    ) -> (usize, usize) {
        let mut scrap = Vec::new();
        let taken = self.with(id, |conn| {
            let buffer: &mut [u8] = match into {
                Into::Buffer(buffer) if is_peek => &mut buffer[..],
                Into::Buffer(buffer) => &mut buffer[got..],
                Into::Nowhere(len) | Into::Fault(len) => {
                    scrap.resize(conn.unread().min(*len - if is_peek { 0 } else { got }), 0);
                    &mut scrap[..]
                }
            };
            let end = buffer.len().min(most);
            let buffer = &mut buffer[..end];
            let len = if is_peek { conn.peek(buffer) } else { conn.read(buffer) };
            (len, conn.unread())
        });
        taken.unwrap_or_default()
    }

    fn send(
        &mut self,
        fd: i32,
        data: &[u8],
        flags: i32,
        sent: &mut usize,
    ) -> Option<Answer<usize>> {
        let socket = match self.socket_mut(fd) {
            Ok(socket) => socket,
            Err(error) => return Some(Err(error)),
        };
        let id = match socket.role {
            Role::Connection { id, phase: Phase::Open } if socket.error.is_none() => id,
            Role::Connection { phase: Phase::Connecting, .. } if socket.error.is_none() => {
                return None;
            }
            _ => return Some(socket.broken_pipe(*sent)),
        };
        if socket.is_write_shut {
            return Some(socket.broken_pipe(*sent));
        }
        let rest = &data[*sent..];
        let taken = self.with(id, |conn| match flags & (libc::MSG_OOB | libc::MSG_MORE) {
            0 => conn.send(rest),
            libc::MSG_MORE => conn.send_more(rest),
            _ => conn.send_urgent(rest),
        });
        let Some(taken) = taken else {
            let socket = self.socket_mut(fd).ok()?;
            return Some(socket.broken_pipe(*sent));
        };
        *sent += taken;
        if *sent == data.len() {
            return Some(Ok(*sent));
        }
        if let Ok(socket) = self.socket_mut(fd) {
            socket.is_short = true;
        }
        None
    }
}

impl Socket {
    /// Octets before the urgent byte, where one is ahead.
    pub(super) fn urgent_distance(&self) -> Option<usize> {
        self.view.urgent.filter(|ahead| *ahead > 0).map(|ahead| ahead as usize - 1)
    }

    /// Whether MSG_OOB would give a byte.
    pub(super) fn has_urgent(&self) -> bool {
        match self.urgent {
            Urgent::None => false,
            Urgent::Passed(_) => true,
            Urgent::Ahead => {
                self.urgent_distance().is_some_and(|distance| distance < self.view.unread)
            }
        }
    }

    /// What a reader is told for whom there is no text: nothing yet, the end, or an error.
    fn end_of_reading(&mut self) -> Option<Answer<()>> {
        let Role::Connection { phase, .. } = self.role else {
            return Some(Err(Errno(libc::ENOTCONN)));
        };
        // As on Linux the peer's FIN goes before what came after it.
        if self.is_done {
            return Some(Ok(()));
        }
        if let Some(error) = self.take_error() {
            return Some(Err(error));
        }
        if self.is_read_shut {
            return Some(Ok(()));
        }
        (phase == Phase::Over).then_some(Err(Errno(libc::ENOTCONN)))
    }

    /// What a writer is told who can write no more.
    fn broken_pipe(&mut self, sent: usize) -> Answer<usize> {
        if sent > 0 {
            return Ok(sent);
        }
        Err(self.take_error().unwrap_or(Errno(libc::EPIPE)))
    }
}
