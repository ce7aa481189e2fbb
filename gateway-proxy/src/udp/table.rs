//! The sessions of one Gateway in one worker, over all its UDP sockets: how many, and which was idle for longest.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

use gateway_common::ir::GatewayId;

use super::session::Session;
use crate::access_log::Reason;

/// One worker's tables.
#[derive(Default)]
pub struct Tables(RefCell<BTreeMap<GatewayId, Weak<Table>>>);

/// Sessions stand in the order of the time written beside them; the time of one that was used since is brought up to
/// date when it comes to the front.
#[derive(Default)]
pub(super) struct Table {
    order: RefCell<VecDeque<(u64, Weak<Session>)>>,
    live: Cell<usize>,
}

/// Entries of ended sessions that may stand in the order, beyond as many as are live.
const SLACK: usize = 1024;

impl Tables {
    pub(super) fn of(&self, gateway: &GatewayId) -> Rc<Table> {
        let mut tables = self.0.borrow_mut();
        tables.retain(|_, table| table.strong_count() > 0);
        tables.get(gateway).and_then(Weak::upgrade).unwrap_or_else(|| {
            let table = Rc::new(Table::default());
            tables.insert(gateway.clone(), Rc::downgrade(&table));
            table
        })
    }
}

impl Table {
    pub(super) fn live(&self) -> usize {
        self.live.get()
    }

    pub(super) fn add(&self, session: &Rc<Session>) {
        self.live.set(self.live.get() + 1);
        let mut order = self.order.borrow_mut();
        if order.len() > 2 * self.live.get() + SLACK {
            order.retain(|(_, session)| session.strong_count() > 0);
        }
        order.push_back((session.used(), Rc::downgrade(session)));
    }

    pub(super) fn removed(&self) {
        self.live.set(self.live.get() - 1);
    }

    /// Ends the session that was idle for longest.
    pub(super) fn evict(&self) {
        if let Some(session) = self.pop(u64::MAX) {
            session.end(Reason::Evicted);
        }
    }

    /// Ends the sessions that were not used since `before`.
    pub(super) fn expire(&self, before: u64) {
        while let Some(session) = self.pop(before) {
            session.end(if session.is_answered() { Reason::Ok } else { Reason::IdleTimeout });
        }
    }

    /// Takes out the session that was used least lately, if that was before `before`.
    fn pop(&self, before: u64) -> Option<Rc<Session>> {
        let mut order = self.order.borrow_mut();
        while order.front().is_some_and(|(stamp, _)| *stamp < before) {
            let Some((stamp, weak)) = order.pop_front() else { break };
            let Some(session) = weak.upgrade().filter(|session| !session.is_ended()) else { continue };
            if session.used() == stamp {
                return Some(session);
            }
            order.push_back((session.used(), weak));
        }
        None
    }
}
