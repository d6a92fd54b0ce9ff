//! Pure: whether this broker coordinates a partition of an internal topic, since which epoch, and
//! what it holds in memory then.

use kafka_wire::error_code::ErrorCode;

/// Whether this broker coordinates a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Another broker does.
    NotOwned,
    /// The log is being read.
    Loading,
    /// It does.
    Active,
}

#[derive(Debug)]
enum Held<T> {
    Nothing,
    Loading,
    Active(T),
}

/// A partition's content, as far as it is here, and the newest epoch that was heard of.
#[derive(Debug)]
pub struct Ownership<T> {
    epoch: Option<i32>,
    held: Held<T>,
}

impl<T> Default for Ownership<T> {
    fn default() -> Self {
        Ownership {
            epoch: None,
            held: Held::Nothing,
        }
    }
}

impl<T> Ownership<T> {
    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.held {
            Held::Nothing => Phase::NotOwned,
            Held::Loading => Phase::Loading,
            Held::Active(_) => Phase::Active,
        }
    }

    /// Is still being loaded for this epoch.
    pub fn is_loading(&self, epoch: i32) -> bool {
        matches!(self.held, Held::Loading) && self.epoch == Some(epoch)
    }

    /// Takes a newer epoch; false if an older one is given, which was overtaken. Whoever has none
    /// to give is believed.
    pub fn accept(&mut self, epoch: Option<i32>) -> bool {
        match (epoch, self.epoch) {
            (Some(new), Some(known)) if new < known => return false,
            (Some(new), _) => self.epoch = Some(new),
            (None, _) => {}
        }
        true
    }

    /// This broker leads the partition now. True if its log has to be read; what was held of an
    /// earlier epoch is gone then.
    pub fn elect(&mut self, epoch: i32) -> bool {
        let is_known = self.epoch == Some(epoch) && !matches!(self.held, Held::Nothing);
        if is_known || !self.accept(Some(epoch)) {
            return false;
        }
        self.held = Held::Loading;
        true
    }

    /// The log has been read.
    pub fn activate(&mut self, content: T) {
        self.held = Held::Active(content);
    }

    /// Another broker leads the partition now; answers what was held.
    pub fn release(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Active(content) => Some(content),
            Held::Nothing | Held::Loading => None,
        }
    }

    /// The content.
    ///
    /// # Errors
    /// What clients are told while it is not here.
    pub fn content(&mut self) -> Result<&mut T, ErrorCode> {
        match &mut self.held {
            Held::Nothing => Err(ErrorCode::NotCoordinator),
            Held::Loading => Err(ErrorCode::CoordinatorLoadInProgress),
            Held::Active(content) => Ok(content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_epochs_change_nothing_and_the_same_one_is_loaded_once() {
        let mut owned = Ownership::default();
        assert_eq!(owned.content(), Err(ErrorCode::NotCoordinator));
        assert!(owned.elect(3));
        assert!(!owned.elect(3) && !owned.elect(2));
        assert!(owned.is_loading(3) && !owned.is_loading(2));
        assert_eq!(owned.content(), Err(ErrorCode::CoordinatorLoadInProgress));
        owned.activate("loaded");
        assert_eq!(owned.content(), Ok(&mut "loaded"));
        assert!(!owned.elect(3) && !owned.accept(Some(2)));
        assert!(owned.elect(4));
        assert_eq!((owned.phase(), owned.release()), (Phase::Loading, None));
        assert!(owned.accept(None) && owned.elect(4));
        owned.activate("again");
        assert_eq!(owned.release(), Some("again"));
        assert_eq!(owned.phase(), Phase::NotOwned);
    }
}
