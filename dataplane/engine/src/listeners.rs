//! The listeners of a driver: names with generations, and the pause when descriptors run out.
//!
//! Both drivers of this machine share it. A pause gives the reserve descriptor up; resuming takes it back.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::io::{Listener, Time, Token};
use crate::net::Reserve;

/// How long accepting rests after a shortage.
pub(crate) const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// Listeners at once: a name has 16 bits for the slot and 16 for the generation.
const LISTENERS_MAX: usize = 1 << 16;

/// One listener.
pub(crate) struct Listening {
    pub(crate) fd: OwnedFd,
    pub(crate) token: Token,
    /// Set while accepting rests.
    pub(crate) paused_until: Option<Time>,
    /// Connections to take at the next event.
    pub(crate) batch: u32,
}

pub(crate) struct Listeners {
    slots: Vec<(u16, Option<Listening>)>,
    reserve: Reserve,
    pauses: u64,
}

impl Listeners {
    pub(crate) fn new() -> Listeners {
        Listeners { slots: Vec::new(), reserve: Reserve::new(), pauses: 0 }
    }

    pub(crate) fn pauses(&self) -> u64 {
        self.pauses
    }

    pub(crate) fn insert(&mut self, fd: OwnedFd, token: Token) -> Option<Listener> {
        let index = match self.slots.iter().position(|(_, slot)| slot.is_none()) {
            Some(index) => index,
            None if self.slots.len() < LISTENERS_MAX => {
                self.slots.push((0, None));
                self.slots.len() - 1
            }
            None => return None,
        };
        let (generation, slot) = &mut self.slots[index];
        *slot = Some(Listening { fd, token, paused_until: None, batch: 1 });
        Some(name(index, *generation))
    }

    pub(crate) fn get_mut(&mut self, listener: Listener) -> Option<&mut Listening> {
        let (generation, slot) = self.slots.get_mut(listener.0 as usize & 0xffff)?;
        if u32::from(*generation) == listener.0 >> 16 { slot.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, listener: Listener) -> Option<Listening> {
        self.get_mut(listener)?;
        let (generation, slot) = &mut self.slots[listener.0 as usize & 0xffff];
        *generation = generation.wrapping_add(1);
        slot.take()
    }

    /// Starts the back-off of a listener.
    pub(crate) fn pause(&mut self, listener: Listener, now: Time) {
        if let Some(listening) = self.get_mut(listener) {
            listening.paused_until = Some(now.after(ACCEPT_BACK_OFF));
            self.pauses += 1;
            self.reserve.release();
        }
    }

    /// One listener whose back-off is over, marked as accepting again.
    pub(crate) fn resume_one(&mut self, now: Time) -> Option<Listener> {
        let (index, (generation, slot)) = self.slots.iter_mut().enumerate().find(|(_, (_, slot))| {
            slot.as_ref().is_some_and(|listening| listening.paused_until.is_some_and(|until| until <= now))
        })?;
        slot.as_mut()?.paused_until = None;
        self.reserve.refill();
        Some(name(index, *generation))
    }

    /// When the next back-off ends.
    pub(crate) fn next_deadline(&self) -> Time {
        let paused = self.slots.iter().filter_map(|(_, slot)| slot.as_ref()?.paused_until);
        paused.min().unwrap_or(Time::NEVER)
    }
}

fn name(index: usize, generation: u16) -> Listener {
    Listener(u32::from(generation) << 16 | index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn names_go_stale_and_pauses_end() {
        let mut listeners = Listeners::new();
        let fd = || eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let a = listeners.insert(fd(), Token(1)).unwrap();
        assert!(listeners.remove(a).is_some() && listeners.remove(a).is_none());
        let b = listeners.insert(fd(), Token(2)).unwrap();
        assert!(a != b && listeners.get_mut(a).is_none());
        listeners.pause(b, Time(0));
        let end = Time(0).after(ACCEPT_BACK_OFF);
        assert_eq!((listeners.next_deadline(), listeners.resume_one(Time(1))), (end, None));
        assert_eq!((listeners.resume_one(end), listeners.next_deadline()), (Some(b), Time::NEVER));
        assert_eq!(listeners.pauses(), 1);
    }
}
