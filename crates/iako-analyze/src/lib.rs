//! Finds mistakes in a snapshot; explains what would happen to a request.
