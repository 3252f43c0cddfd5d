//! The tasks that serve streams of HTTP/2 clients, each one stream after the other.
//!
//! A task is large, because it holds the whole way of a request. Making one for each stream costs more
//! than some requests do, so that a few that have nothing to do wait for the next stream of their worker.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use iako_http::RequestHead;
use iako_rt::spawn_detached;

use super::connection::HttpConnection;
use super::downstream::Downstream;
use super::downstream::h2::Http2Downstream;
use super::exchange::{Moment, begin};

/// Tasks of a worker that wait for a stream; each is about 3 KiB.
const WAITING_MAX: usize = 64;

/// A stream that is to be served.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) connection: Rc<HttpConnection>,
    pub(crate) side: Http2Downstream,
    pub(crate) head: RequestHead,
}

/// The tasks of one worker that have nothing to do.
#[derive(Debug, Default)]
pub(crate) struct StreamTasks {
    waiting: RefCell<Vec<Rc<Desk>>>,
}

/// Where a task finds its next stream.
#[derive(Debug, Default)]
struct Desk {
    job: RefCell<Option<Job>>,
    waker: RefCell<Option<Waker>>,
}

impl StreamTasks {
    /// Has a stream served.
    pub(crate) fn serve(&self, job: Job) {
        let waiting = self.waiting.borrow_mut().pop();
        match waiting {
            Some(desk) => {
                desk.job.replace(Some(job));
                if let Some(waker) = desk.waker.take() {
                    waker.wake();
                }
            }
            None => spawn_detached("http2 streams", run(job)),
        }
    }

    /// Whether a task may wait for another stream.
    fn wait(&self, desk: &Rc<Desk>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let is_wanted = waiting.len() < WAITING_MAX;
        if is_wanted {
            waiting.push(Rc::clone(desk));
        }
        is_wanted
    }
}

impl Desk {
    fn poll_job(&self, context: &Context<'_>) -> Poll<Job> {
        if let Some(job) = self.job.take() {
            return Poll::Ready(job);
        }
        self.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

async fn run(mut job: Job) {
    let desk = Rc::new(Desk::default());
    loop {
        let worker = Rc::clone(&job.connection.worker);
        serve(job).await;
        if !worker.streams.wait(&desk) {
            return;
        }
        // The worker is not held by who waits for its work.
        drop(worker);
        job = poll_fn(|context| desk.poll_job(context)).await;
    }
}

async fn serve(job: Job) {
    let Job { connection, mut side, head } = job;
    let mut timer = connection.worker.take_timer();
    let moment = Moment::of(&connection);
    let begun = begin(&connection, &moment, head, &mut timer);
    let _ended_at = begun.serve(&mut Downstream::Http2(&mut side)).await;
    connection.worker.keep_timer(timer);
}
