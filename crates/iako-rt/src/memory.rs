//! What the allocator holds and nobody uses.

/// Gives memory that was freed back to the system. The allocator keeps it for the next need, which
/// after a burst (a configuration was read) may not come for days. Takes about a millisecond; does
/// nothing where the C library is not glibc.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #![expect(unsafe_code, reason = "malloc_trim is a C function")]
        // SAFETY: it takes a number, may be called from any thread at any time, and touches only
        // memory that is free.
        let released = unsafe { libc::malloc_trim(0) };
        tracing::trace!(released, "memory was given back");
    }
}
