//! Moves bytes: listeners, HTTP/1, HTTP/2, TCP, upstream pools; asks `traffic` what to do.
