//! Metrics, access-log records, trace context, tap events; names in one table.
