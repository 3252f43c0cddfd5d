//! Every decision about a connection or request, pure.
