//! What happened to a connection: how its user hears of it, and how it is kept until then.

use super::{CloseReason, Trouble};

/// What happened, for the user of the connection; taken by [`super::Tcb::poll_event`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// ESTABLISHED was reached.
    pub opened: bool,
    /// The send buffer has room again.
    pub writable: bool,
    /// The peer's FIN was reached; text before it may be unread yet.
    pub fin: bool,
    /// The user's timer fired.
    pub timer: bool,
    /// The peer's urgent pointer advanced.
    pub urgent: bool,
    /// Something is wrong, and the connection goes on.
    pub trouble: Option<Trouble>,
    /// The user closed and waits no longer for the end: the connection goes on without it.
    pub released: Option<CloseReason>,
    /// The connection is over.
    pub closed: Option<CloseReason>,
}

/// The same until it is taken, in few octets, of which one says whether there is anything.
#[derive(Debug, Default)]
pub(super) struct Noted {
    notes: u8,
    trouble: Option<Trouble>,
    released: Option<CloseReason>,
    closed: Option<CloseReason>,
}

/// What is said by a yes; a bit of [`Noted`].
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Note {
    Opened = 1,
    Writable = 1 << 1,
    Fin = 1 << 2,
    Timer = 1 << 3,
    Urgent = 1 << 4,
}

impl Noted {
    /// Whether something is kept.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.notes != 0
    }

    pub fn note(&mut self, note: Note) {
        self.notes |= note as u8;
    }

    pub fn note_trouble(&mut self, trouble: Trouble) {
        self.notes |= WITH_REASON;
        self.trouble = Some(trouble);
    }

    /// The user closed and waits no longer for the end.
    pub fn note_release(&mut self, reason: CloseReason) {
        self.notes |= WITH_REASON;
        self.released = Some(reason);
    }

    /// The connection is over.
    pub fn note_end(&mut self, reason: CloseReason) {
        self.notes |= WITH_REASON;
        self.closed = Some(reason);
    }

    /// What is kept, which is nothing then.
    pub fn take(&mut self) -> Events {
        if !self.is_any() {
            return Events::default();
        }
        let Self { notes, trouble, released, closed } = core::mem::take(self);
        let has = |note: Note| notes & note as u8 != 0;
        Events {
            opened: has(Note::Opened),
            writable: has(Note::Writable),
            fin: has(Note::Fin),
            timer: has(Note::Timer),
            urgent: has(Note::Urgent),
            trouble,
            released,
            closed,
        }
    }
}

/// The bit of [`Noted`] for what says more than yes.
const WITH_REASON: u8 = 1 << 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_taken_once() {
        let mut noted = Noted::default();
        assert!(!noted.is_any() && noted.take() == Events::default());
        noted.note(Note::Writable);
        noted.note(Note::Urgent);
        assert_eq!(noted.take(), Events { writable: true, urgent: true, ..Events::default() });
        let all = [Note::Opened, Note::Writable, Note::Fin, Note::Timer, Note::Urgent];
        all.into_iter().for_each(|note| noted.note(note));
        noted.note_trouble(Trouble::Unanswered);
        noted.note_release(CloseReason::Lingering);
        noted.note_end(CloseReason::Reset);
        let (trouble, released) = (Some(Trouble::Unanswered), Some(CloseReason::Lingering));
        let closed = Some(CloseReason::Reset);
        let whole = Events {
            opened: true,
            writable: true,
            fin: true,
            timer: true,
            urgent: true,
            trouble,
            released,
            closed,
        };
        assert_eq!(noted.take(), whole);
        assert!(!noted.is_any());
    }

    #[test]
    fn each_reason_alone_is_something() {
        let notes: [fn(&mut Noted); 3] = [
            |noted| noted.note_trouble(Trouble::Unanswered),
            |noted| noted.note_release(CloseReason::Closed),
            |noted| noted.note_end(CloseReason::Closed),
        ];
        for note in notes {
            let mut noted = Noted::default();
            note(&mut noted);
            assert!(noted.is_any());
        }
    }
}
