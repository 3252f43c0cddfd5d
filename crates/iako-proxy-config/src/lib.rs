//! What a proxy can be told; decodes and encodes xDS resources and bootstrap files.
