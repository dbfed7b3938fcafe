//! Server-sent events: the view whenever it changed, and each event as it happens.

use super::Api;
use crate::{Controller, Notice};
use axum::{
    extract::State,
    response::sse::{Event as Message, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use mainstay_daemon::News;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep_until},
};

/// Views are not sent more often: a person cannot read faster, and one change rarely comes alone.
const VIEW_EVERY: Duration = Duration::from_millis(250);
/// With nothing new the view is sent this often all the same: its age shows that the controller lives.
const VIEW_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn watch<C: Controller>(
    State(api): State<Api<C>>,
) -> Sse<impl Stream<Item = Result<Message, axum::Error>>> {
    let news = api.controller.watch();
    let reader = Reader { api, news, view_due: Instant::now(), last_view: None };
    let notices = stream::unfold(reader, |mut reader| async move {
        let notice = reader.next().await?;
        Some((message(&notice), reader))
    });
    Sse::new(notices).keep_alive(KeepAlive::default())
}

struct Reader<C> {
    api: Api<C>,
    news: Receiver<News>,
    view_due: Instant,
    last_view: Option<Instant>,
}

impl<C: Controller> Reader<C> {
    /// The next notice; `None` when the controller has stopped.
    async fn next(&mut self) -> Option<Notice> {
        loop {
            tokio::select! {
                // In the order in which things happened: events before the view they led to.
                biased;
                news = self.news.recv() => match news {
                    Ok(News::Event(event)) => return Some(Notice::Event(event)),
                    Ok(News::Changed) => self.view_due = self.view_due.min(self.earliest()),
                    Err(RecvError::Lagged(missed)) => return Some(Notice::Missed(missed)),
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(self.view_due) => {
                    let view = self.api.controller.view().await.ok()?;
                    let now = Instant::now();
                    (self.last_view, self.view_due) = (Some(now), now + VIEW_AT_LEAST_EVERY);
                    return Some(Notice::View(Arc::new(self.api.envelope((*view).clone()))));
                }
            }
        }
    }

    fn earliest(&self) -> Instant {
        self.last_view.map_or_else(Instant::now, |last| last + VIEW_EVERY)
    }
}

fn message(notice: &Notice) -> Result<Message, axum::Error> {
    match notice {
        Notice::View(view) => Message::default().event("view").json_data(view),
        Notice::Event(event) => Message::default().event("event").json_data(event),
        Notice::Missed(count) => Message::default().event("missed").json_data(count),
    }
}
