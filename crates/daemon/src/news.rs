//! What changes, told to whoever watches (server-sent events, `mainstay watch`).

use mainstay_model::Event;
use std::sync::Arc;

/// News of the controller.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The belief changed: whoever shows it should ask for the view again.
    Changed,
    /// Something worth remembering happened; it is durable, unless it says that nothing can be.
    Event(Arc<Event>),
}
